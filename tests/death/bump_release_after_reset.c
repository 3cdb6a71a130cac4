/* dies: bump: mark is not of now */
#include <loam/bump.h>

static unsigned char span[4096];

int main(void)
{
    struct loam_bump heap;
    if (loam_bump_init(&heap, span, sizeof span) != LOAM_OK)
        return 1;
    const struct loam_bump_mark mark = loam_bump_now(&heap);
    loam_bump_reset(&heap);
    loam_bump_release(&heap, mark);
    return 0;
}
