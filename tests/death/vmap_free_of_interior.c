/* dies: vmap: nothing begins here */
#include "vmap.h"

int main(void)
{
    loam_vmap_free(&mm, loam_virt_at(three_pages().addr + LOAM_PAGE_SIZE));
    return 0;
}
