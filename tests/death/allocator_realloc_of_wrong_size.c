/* dies: arena: wrong size */
#include <loam/allocator.h>

static _Alignas(16) unsigned char span[65536];

int main(void)
{
    struct loam_arena arena;
    loam_arena_init(&arena);
    if (loam_arena_claim(&arena, span, sizeof span) != LOAM_OK)
        return 1;
    const struct loam_allocator heap = { LOAM_ALLOCATOR_ARENA, { .arena = &arena } };
    const struct loam_resize resize = { 25, 100, 16 };
    void *const block = loam_allocator_alloc(&heap, 24, 16);
    return loam_allocator_realloc(&heap, block, &resize) == NULL;
}
