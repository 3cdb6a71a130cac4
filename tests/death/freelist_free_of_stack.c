/* dies: freelist: not a block of this heap */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    _Alignas(16) unsigned char local[16] = { 0 };
    loam_freelist_free(&heap, local);
    return 0;
}
