/* dies: loam: range given back is not its owner's */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    const struct loam_phys_range image = loam_phys_range_of(loam_phys_at(MIB(1)), KIB(4));
    return loam_give(&mm, image, LOAM_OWNER_KERNEL) == LOAM_OK;
}
