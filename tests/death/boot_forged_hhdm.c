/* dies: hhdm: made by something else than a boot adapter */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    boot.hhdm.seal = boot.hhdm.offset; /* written by hand */
    return loam_init(&mm, &boot, &refusal) == LOAM_OK;
}
