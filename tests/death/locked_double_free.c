/* dies: debug: block is already free */
#include <loam/locked.h>

static _Alignas(16) unsigned char span[65536];
static struct loam_bump bump;
static struct loam_locked heap;

int main(void)
{
    const struct loam_locked_options options = {
        .allocator = { LOAM_ALLOCATOR_BUMP, { .bump = &bump } },
        .debug = true,
    };
    if (loam_bump_init(&bump, span, sizeof span) != LOAM_OK ||
        loam_locked_init(&heap, &options) != LOAM_OK)
        return 1;
    void *const block = loam_locked_alloc(&heap, 24, 16);
    loam_locked_free(&heap, block);
    loam_locked_free(&heap, block);
    return 0;
}
