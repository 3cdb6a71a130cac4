/* dies: vmap: not mapped as it was */
#include "loam_world.h"

int main(void)
{
    const struct loam_vmap_request request = { .size_bytes = 3 * LOAM_PAGE_SIZE };
    loam_virt at;
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK ||
        loam_vmap_alloc(&mm, &request, &at) != LOAM_OK ||
        loam_unmap(&mm, loam_virt_range_of(at, LOAM_PAGE_SIZE)) != LOAM_OK)
        return 1;
    loam_vmap_free(&mm, at);
    return loam_vmap_purge(&mm) ? 0 : 1;
}
