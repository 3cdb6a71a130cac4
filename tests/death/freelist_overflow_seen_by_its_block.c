/* dies: freelist: header is damaged */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    unsigned char *const block = loam_freelist_alloc(&heap, 32, 16);
    if (loam_freelist_alloc(&heap, 32, 16) == NULL)
        return 1;
    block[32] ^= 0xff;
    loam_freelist_free(&heap, block);
    return 0;
}
