/* dies: arena: free block is damaged */
#include <loam/arena.h>

static _Alignas(16) unsigned char span[65536];

int main(void)
{
    struct loam_arena heap;
    loam_arena_init(&heap);
    if (loam_arena_claim(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    uint64_t *const block = loam_arena_alloc(&heap, 24, 8);
    loam_arena_free(&heap, block);
    block[0] = 0x4141414141414141; /* where it is linked */
    if (loam_arena_alloc(&heap, 24, 8) == NULL)
        return 2;
    return 0;
}
