/* dies: debug: block was written past its end */
#include <loam/debug.h>

static _Alignas(16) unsigned char span[65536];
static struct loam_arena arena;
static struct loam_debug heap;

int main(void)
{
    const struct loam_allocator allocator = { LOAM_ALLOCATOR_ARENA, { .arena = &arena } };
    const loam_virt site = loam_virt_at(1);
    loam_arena_init(&arena);
    if (loam_arena_claim(&arena, span, sizeof span) != LOAM_OK)
        return 1;
    loam_debug_init(&heap, &allocator);
    unsigned char *const block = loam_debug_alloc(&heap, 24, 16, site);
    block[24] = 0;
    loam_debug_free(&heap, block, site);
    return 0;
}
