/* dies: freelist: not a block of this heap */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    static _Alignas(16) unsigned char other_span[4096];
    struct loam_freelist other;
    if (loam_freelist_init(&other, other_span, sizeof other_span) != LOAM_OK)
        return 1;
    loam_freelist_free(&heap, loam_freelist_alloc(&other, 100, 16));
    return 0;
}
