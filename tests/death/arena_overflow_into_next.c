/* dies: arena: tag is damaged */
#include <loam/arena.h>

static _Alignas(16) unsigned char span[65536];

int main(void)
{
    struct loam_arena heap;
    loam_arena_init(&heap);
    if (loam_arena_claim(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    unsigned char *const block = loam_arena_alloc(&heap, 28, 8);
    void *const next = loam_arena_alloc(&heap, 28, 8);
    block[28] ^= 0xff; /* no padding: the first byte of the next tag */
    loam_arena_free(&heap, next);
    return 0;
}
