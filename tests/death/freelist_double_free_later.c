/* dies: freelist: block is already free */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const block = loam_freelist_alloc(&heap, 24, 16);
    void *const other = loam_freelist_alloc(&heap, 500, 16);
    loam_freelist_free(&heap, block);
    loam_freelist_free(&heap, other); /* merged: the header of block is gone */
    void *const traffic = loam_freelist_alloc(&heap, 8, 512);
    loam_freelist_free(&heap, traffic);
    loam_freelist_free(&heap, other);
    return 0;
}
