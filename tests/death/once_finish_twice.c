/* dies: once: finished without having begun */
#include <loam/once.h>

int main(void)
{
    struct loam_once once = { 0 };
    if (!loam_once_begin(&once))
        return 1;
    loam_once_finish(&once);
    loam_once_finish(&once);
    return 0;
}
