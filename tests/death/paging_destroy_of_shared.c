/* dies: paging: space that ends is shared */
#include "paging.h"

int main(void)
{
    static struct loam_space child;
    if (begin() != 0 || loam_space_create(&child, &space) != LOAM_OK)
        return 1;
    (void)!loam_space_destroy(&space);
    return 0;
}
