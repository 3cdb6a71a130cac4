/* dies: loam: range given back is not its owner's */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    const struct loam_phys_range free = loam_phys_range_of(loam_phys_at(MIB(2)), KIB(4));
    return loam_give(&mm, free, LOAM_OWNER_USABLE) == LOAM_OK;
}
