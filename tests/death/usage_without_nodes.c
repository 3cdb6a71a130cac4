/* dies: usage: no stock of nodes */
#include <loam/usage.h>

int main(void)
{
    struct loam_usage usage;
    loam_usage_init(&usage, NULL);
    return 0;
}
