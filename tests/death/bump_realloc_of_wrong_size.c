/* dies: bump: wrong size */
#include <loam/bump.h>

static unsigned char span[4096];

int main(void)
{
    struct loam_bump heap;
    if (loam_bump_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    void *const block = loam_bump_alloc(&heap, 24, 16);
    const struct loam_resize resize = { 40, 64, 16 };
    if (loam_bump_alloc(&heap, 24, 16) != NULL)
        return loam_bump_realloc(&heap, block, &resize) == NULL;
    return 0;
}
