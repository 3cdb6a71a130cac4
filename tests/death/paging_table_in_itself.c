/* dies: paging: table points to itself (entry; level * 512 + index) */
#include "paging.h"

int main(void)
{
    if (begin() != 0 || map(0, 2, 0x40000000) != 0)
        return 1;
    *(uint64_t *)machine_ram(space.root.addr + (LOWER >> 39) * 8) = space.root.addr | 0x27;
    return loam_space_unmap(&space, pages(512 * 512, 1)) == LOAM_OK;
}
