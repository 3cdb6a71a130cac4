/* dies: lock: release of a lock that is not held */
#include <loam/lock.h>

int main(void)
{
    struct loam_ticketlock lock = { 0 };
    loam_ticketlock_release(&lock);
    return 0;
}
