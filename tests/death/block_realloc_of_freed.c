/* dies: block: block is already free */
#include <loam/block.h>

static _Alignas(16) unsigned char span[4 * LOAM_BLOCK_CHUNK_BYTES];

int main(void)
{
    struct loam_arena arena;
    loam_arena_init(&arena);
    if (loam_arena_claim(&arena, span, sizeof span) != LOAM_OK)
        return 1;
    const struct loam_block_fallback fallback = { NULL, &arena };
    struct loam_block heap;
    if (loam_block_init(&heap, &fallback) != LOAM_OK)
        return 1;
    void *const block = loam_block_alloc(&heap, 24, 8);
    const struct loam_resize resize = { 24, 100, 8 };
    loam_block_free(&heap, block);
    if (loam_block_realloc(&heap, block, &resize) == NULL)
        return 1;
    return 0;
}
