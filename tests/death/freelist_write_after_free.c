/* dies: freelist: free block is damaged */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    uint64_t *const block = loam_freelist_alloc(&heap, 32, 16);
    if (loam_freelist_alloc(&heap, 32, 16) == NULL)
        return 1;
    loam_freelist_free(&heap, block);
    block[0] = 0x4141414141414141; /* where the list is linked */
    return loam_freelist_alloc(&heap, 8, 16) != NULL;
}
