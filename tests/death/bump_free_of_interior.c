/* dies: bump: not a block of this heap */
#include <loam/bump.h>

static unsigned char span[4096];

int main(void)
{
    struct loam_bump heap;
    if (loam_bump_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    char *const block = loam_bump_alloc(&heap, 24, 16);
    loam_bump_free(&heap, block + 8);
    return 0;
}
