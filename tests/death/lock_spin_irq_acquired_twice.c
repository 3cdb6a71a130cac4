/* dies: lock: acquired twice by one CPU */
#include <loam/lock.h>

int main(void)
{
    struct loam_spinlock lock = { 0 };
    const loam_irq_state first = loam_spinlock_acquire_irq(&lock);
    (void)first;
    return loam_spinlock_acquire_irq(&lock) != 0;
}
