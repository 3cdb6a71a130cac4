/* dies: paging: table points to itself (entry; level * 512 + index) */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    struct loam_translation at;
    uint64_t *const root = machine_ram(mm.space.root.addr);
    root[0] = mm.space.root.addr | 0x3;
    return loam_space_query(&mm.space, loam_virt_at(0x1000), &at) == LOAM_OK;
}
