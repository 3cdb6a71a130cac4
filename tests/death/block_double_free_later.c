/* dies: block: block is already free */
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
    void *const block = loam_block_alloc(&heap, 24, 8);
    if (loam_block_alloc(&heap, 24, 8) == NULL) /* its chunk stays */
        return 1;
    loam_block_free(&heap, block);
    for (int i = 0; i < 8; i++)
        loam_block_free(&heap, loam_block_alloc(&heap, 48, 8));
    loam_block_free(&heap, block);
    return 0;
}
