/* dies: arena: not a block of this heap */
#include <loam/arena.h>

static _Alignas(16) unsigned char span[65536];

int main(void)
{
    struct loam_arena heap;
    loam_arena_init(&heap);
    if (loam_arena_claim(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    static _Alignas(16) unsigned char other_span[4096];
    struct loam_arena other;
    loam_arena_init(&other);
    if (loam_arena_claim(&other, other_span, sizeof other_span) != LOAM_OK)
        return 1;
    loam_arena_free(&heap, loam_arena_alloc(&other, 100, 8));
    return 0;
}
