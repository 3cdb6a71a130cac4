/* dies: lock: release of a lock that is not held */
#include <loam/lock.h>

int main(void)
{
    struct loam_spinlock lock = { 0 };
    loam_spinlock_release_irq(&lock, 0);
    return 0;
}
