/* dies: paging: corrupt entry (entry; level * 512 + index) */
#include "paging.h"

int main(void)
{
    struct loam_entry entry;
    if (begin() != 0 || map(0, 2, 0x40000000) != 0 ||
        loam_space_entry(&space, loam_virt_at(LOWER), &entry) != LOAM_OK)
        return 1;
    *(uint64_t *)machine_ram(entry.where.addr) |= UINT64_C(1) << 51;
    return loam_phys_is_none(loam_space_translate(&space, loam_virt_at(LOWER)));
}
