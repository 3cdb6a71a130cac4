/* dies: vmap: stack is in use */
#include "loam_world.h"

/* The window lies around this program's own stack, and so does the range that is freed. */
int main(void)
{
    const uint64_t here = loam_page_floor(loam_virt_of(__builtin_frame_address(0)).addr);
    const struct loam_virt_range window =
        loam_virt_range_of(loam_virt_at(here - 20 * LOAM_PAGE_SIZE), 40 * LOAM_PAGE_SIZE);
    const struct loam_vrange_request request = {
        .page_count = 38,
        .guard_before = 1,
        .guard_after = 1,
        .tag = LOAM_VMAP_STACK,
    };
    loam_phys list;
    loam_virt at;
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK || loam_vmap_init(&mm, window, 100) != LOAM_OK ||
        loam_stock_take(&mm.nodes, 1, &list) != LOAM_OK)
        return 1;
    loam_stock_add(&mm.vmap.nodes, /* for the record of the range */
                   loam_phys_range_of(loam_stock_next(&mm.nodes, &list), LOAM_PAGE_SIZE));
    if (loam_vrange_alloc(&mm.vmap.ranges, &request, &at) != LOAM_OK)
        return 1;
    loam_vmap_stack_free(&mm, at);
    return 0;
}
