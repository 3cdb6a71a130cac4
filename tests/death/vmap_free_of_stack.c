/* dies: vmap: freed as something else */
#include "vmap.h"

int main(void)
{
    struct loam_virt_range stack;
    (void)three_pages();
    if (loam_vmap_stack(&mm, LOAM_PAGE_SIZE, "stack", &stack) != LOAM_OK)
        return 1;
    loam_vmap_free(&mm, stack.start);
    return 0;
}
