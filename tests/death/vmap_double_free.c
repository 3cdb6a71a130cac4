/* dies: vmap: freed twice */
#include "vmap.h"

int main(void)
{
    const loam_virt at = three_pages();
    loam_vmap_free(&mm, at);
    loam_vmap_free(&mm, at);
    return 0;
}
