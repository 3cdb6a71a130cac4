/* dies: block: wrong size */
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
    loam_block_free_sized(&heap, loam_block_alloc(&heap, 24, 8), 32);
    return 0;
}
