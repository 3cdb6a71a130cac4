/* dies: hhdm: made by something else than a boot adapter */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    memset(&boot.hhdm, 0, sizeof boot.hhdm);
    return loam_init(&mm, &boot, &refusal) == LOAM_OK;
}
