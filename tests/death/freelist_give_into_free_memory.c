/* dies: freelist: wrong size */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const next = loam_freelist_take(&heap, 64, 8);
    void *const block = loam_freelist_take(&heap, 64, 8); /* below the other */
    loam_freelist_give(&heap, next, 64);
    loam_freelist_give(&heap, block, 72);
    return 0;
}
