/* dies: paging: the kernel's space shares another's */
#include "paging.h"

int main(void)
{
    static struct loam_space child, grandchild;
    if (begin() != 0 || loam_space_create(&child, &space) != LOAM_OK)
        return 1;
    return loam_space_create(&grandchild, &child) == LOAM_OK;
}
