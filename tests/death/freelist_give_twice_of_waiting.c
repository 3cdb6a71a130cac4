/* dies: freelist: block is already free */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[1 << 18];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const block = loam_freelist_take(&heap, 24, 8);
    loam_freelist_give(&heap, block, 24); /* waits to be merged */
    loam_freelist_give(&heap, block, 24);
    return 0;
}
