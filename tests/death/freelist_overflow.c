/* dies: freelist: header is damaged */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const next = loam_freelist_alloc(&heap, 32, 16);
    unsigned char *const block = loam_freelist_alloc(&heap, 32, 16); /* below the other */
    block[32 + 8] ^= 0xff; /* behind its guard: the header of the next */
    loam_freelist_free(&heap, next);
    return 0;
}
