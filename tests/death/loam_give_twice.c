/* dies: loam: range given back is not its owner's */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    const struct loam_frame_request pages = { .page_count = 4 };
    struct loam_phys_range range;
    if (loam_take(&mm, &pages, LOAM_OWNER_KERNEL, &range) != LOAM_OK)
        return 1;
    range.size = KIB(4);
    if (loam_give(&mm, range, LOAM_OWNER_KERNEL) != LOAM_OK)
        return 1;
    range.size = KIB(16); /* the first page is no longer ours */
    return loam_give(&mm, range, LOAM_OWNER_KERNEL) == LOAM_OK;
}
