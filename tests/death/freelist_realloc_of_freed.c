/* dies: freelist: block is already free */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const block = loam_freelist_alloc(&heap, 32, 16);
    loam_freelist_free(&heap, block);
    return loam_freelist_realloc(&heap, block, 64, 16) != NULL;
}
