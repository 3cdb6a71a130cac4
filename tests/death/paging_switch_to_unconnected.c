/* dies: paging: space to run on is not connected */
#include "paging.h"

int main(void)
{
    if (begin() != 0)
        return 1;
    loam_space_switch(&space);
    return 0;
}
