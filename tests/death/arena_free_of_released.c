/* dies: arena: not a block of this heap */
#include <loam/arena.h>

static _Alignas(16) unsigned char span[65536];

int main(void)
{
    struct loam_arena heap;
    loam_arena_init(&heap);
    if (loam_arena_claim(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const block = loam_arena_alloc(&heap, 100, 8);
    loam_arena_free(&heap, block);
    if (loam_arena_release(&heap, span) != LOAM_OK)
        return 1;
    loam_arena_free(&heap, block);
    return 0;
}
