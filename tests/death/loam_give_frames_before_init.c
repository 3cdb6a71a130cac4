/* dies: loam: frames given back before loam_init() */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    loam_give_frames(&mm, loam_phys_at(MIB(2)), 0, LOAM_OWNER_KERNEL);
    return 0;
}
