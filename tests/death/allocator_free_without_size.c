/* dies: allocator: size is needed */
#include <loam/allocator.h>

static _Alignas(16) unsigned char span[65536];

int main(void)
{
    struct loam_freelist list;
    if (loam_freelist_init(&list, span, sizeof span) != LOAM_OK)
        return 1;
    const struct loam_allocator heap = { LOAM_ALLOCATOR_FREELIST_SIZED, { .freelist = &list } };
    void *const block = loam_allocator_alloc(&heap, 24, 16);
    loam_allocator_free(&heap, block);
    return 0;
}
