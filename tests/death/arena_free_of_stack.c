/* dies: arena: not a block of this heap */
#include <loam/arena.h>

static _Alignas(16) unsigned char span[65536];

int main(void)
{
    struct loam_arena heap;
    loam_arena_init(&heap);
    if (loam_arena_claim(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    _Alignas(16) unsigned char local[16] = { 0 };
    loam_arena_free(&heap, local);
    return 0;
}
