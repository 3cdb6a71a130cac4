/* dies: paging: clone of a space of another kind */
#include "paging.h"

int main(void)
{
    if (begin() != 0)
        return 1;
    return loam_space_clone(&space, &space) == LOAM_OK;
}
