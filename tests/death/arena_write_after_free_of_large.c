/* dies: arena: free block is damaged */
#include <loam/arena.h>

static _Alignas(16) unsigned char span[65536];

int main(void)
{
    struct loam_arena heap;
    loam_arena_init(&heap);
    if (loam_arena_claim(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    uint64_t *const block = loam_arena_alloc(&heap, 40000, 8);
    if (loam_arena_alloc(&heap, 100, 8) == NULL)
        return 1;
    loam_arena_free(&heap, block);
    block[0] = 0; /* where its size is */
    if (loam_arena_alloc(&heap, 40000, 8) == NULL)
        return 2;
    return 0;
}
