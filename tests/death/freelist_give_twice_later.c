/* dies: freelist: block is already free */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const block = loam_freelist_take(&heap, 24, 8);
    void *const other = loam_freelist_take(&heap, 500, 8);
    loam_freelist_give(&heap, block, 24);
    loam_freelist_give(&heap, other, 500); /* merged: block is inside a free one */
    loam_freelist_give(&heap, loam_freelist_take(&heap, 8, 512), 8);
    loam_freelist_give(&heap, block, 24);
    return 0;
}
