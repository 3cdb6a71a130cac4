/* dies: freelist: free block is damaged */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[1 << 18];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    uint64_t *const block = loam_freelist_take(&heap, 64, 8);
    loam_freelist_give(&heap, block, 64);
    block[0] = 0;
    if (loam_freelist_take(&heap, 64, 8) == NULL)
        return 1;
    return 0;
}
