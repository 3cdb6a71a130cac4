/* dies: freelist: block overflowed */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    unsigned char *const block = loam_freelist_alloc(&heap, 30, 16);
    if (loam_freelist_alloc(&heap, 32, 16) == NULL)
        return 1;
    block[30] ^= 0xff; /* one past the end */
    loam_freelist_free(&heap, block);
    return 0;
}
