/* dies: heap: not a block of this heap */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    const struct loam_frame_request page = { .page_count = 1 };
    struct loam_phys_range range;
    if (loam_take(&mm, &page, LOAM_OWNER_KERNEL, &range) != LOAM_OK)
        return 1;
    loam_free(&mm, loam_hhdm_pointer(boot.hhdm, range.start));
    return 0;
}
