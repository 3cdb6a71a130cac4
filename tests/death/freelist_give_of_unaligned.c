/* dies: freelist: not a block of this heap */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    unsigned char *const block = loam_freelist_take(&heap, 32, 8);
    loam_freelist_give(&heap, block + 1, 32);
    return 0;
}
