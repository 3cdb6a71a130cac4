/* dies: vmap: not mapped as it was */
#include "vmap.h"

int main(void)
{
    const loam_virt at = three_pages();
    if (loam_unmap(&mm, loam_virt_range_of(at, LOAM_PAGE_SIZE)) != LOAM_OK)
        return 1;
    loam_vmap_free(&mm, at);
    return loam_vmap_purge(&mm) ? 0 : 1;
}
