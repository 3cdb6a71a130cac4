/* dies: freelist: not a block of this heap */
#include <loam/freelist.h>

#include <string.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const block = loam_freelist_take(&heap, 64, 16);
    void *const below = loam_freelist_take(&heap, 64, 16);
    if (below == NULL)
        return 1;
    memset(below, 0x55, 64); /* its end is where a header would be */
    loam_freelist_free(&heap, block);
    return 0;
}
