/* dies: once: finished without having begun */
#include <loam/once.h>

int main(void)
{
    struct loam_once once = { 0 };
    loam_once_abandon(&once);
    return 0;
}
