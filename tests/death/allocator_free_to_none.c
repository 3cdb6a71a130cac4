/* dies: allocator: not a block of this heap */
#include <loam/allocator.h>

int main(void)
{
    const struct loam_allocator none = { .kind = LOAM_ALLOCATOR_NONE };
    int local = 0;
    loam_allocator_free(&none, &local);
    return 0;
}
