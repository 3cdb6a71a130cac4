/* dies: vmap: nothing begins here */
#include "loam_world.h"

int main(void)
{
    const struct loam_vmap_request request = { .size_bytes = 3 * LOAM_PAGE_SIZE };
    struct loam_virt_range stack;
    loam_virt at;
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK ||
        loam_vmap_stack(&mm, LOAM_PAGE_SIZE, "stack", &stack) != LOAM_OK ||
        loam_vmap_alloc(&mm, &request, &at) != LOAM_OK)
        return 1;
    loam_vmap_free(&mm, loam_virt_at(at.addr + LOAM_PAGE_SIZE));
    return 0;
}
