/* dies: loam: range given back is not its owner's */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    const struct loam_phys_range root = loam_phys_range_of(mm.space.root, KIB(4));
    return loam_give(&mm, root, LOAM_OWNER_PAGE_TABLES) == LOAM_OK;
}
