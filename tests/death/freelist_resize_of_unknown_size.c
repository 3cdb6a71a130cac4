/* dies: freelist: wrong size */
#include <loam/freelist.h>

static _Alignas(16) unsigned char span[4096];

int main(void)
{
    struct loam_freelist heap;
    if (loam_freelist_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const block = loam_freelist_take(&heap, 64, 8);
    const struct loam_resize request = { LOAM_SIZE_UNKNOWN, 100, 8 };
    if (loam_freelist_resize(&heap, block, &request) == NULL)
        return 1;
    return 0;
}
