/* dies: freelist: not a block of this heap */
#include <loam/block.h>

static _Alignas(16) unsigned char span[4 * LOAM_BLOCK_CHUNK_BYTES];

int main(void)
{
    struct loam_freelist list;
    if (loam_freelist_init(&list, span, sizeof span) != LOAM_OK)
        return 1;
    const struct loam_block_fallback fallback = { &list, NULL };
    struct loam_block heap;
    if (loam_block_init(&heap, &fallback) != LOAM_OK)
        return 1;
    struct loam_block other;
    if (loam_block_init(&other, &fallback) != LOAM_OK)
        return 1;
    void *const block = loam_block_alloc(&other, 24, 8);
    loam_block_free(&heap, block);
    return 0;
}
