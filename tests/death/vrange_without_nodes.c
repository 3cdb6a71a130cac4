/* dies: vrange: no stock of nodes */
#include <loam/vrange.h>

int main(void)
{
    struct loam_vrange vrange;
    loam_vrange_init(&vrange, NULL, 4, 0);
    return 0;
}
