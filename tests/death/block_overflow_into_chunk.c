/* dies: block: chunk is damaged */
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
    /* The lower chunk's last bytes, and on into the header of the one behind it. */
    unsigned char *const block = loam_block_alloc(&heap, 24, 8);
    if (block == NULL)
        return 1;
    unsigned char *const chunk = block - (uintptr_t)block % LOAM_BLOCK_CHUNK_BYTES;
    for (int i = 0; i < 16; i++)
        chunk[i] = 0x41;
    loam_block_free(&heap, block);
    return 0;
}
