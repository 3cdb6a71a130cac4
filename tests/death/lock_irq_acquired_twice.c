/* dies: lock: acquired twice by one CPU */
#include <loam/lock.h>

int main(void)
{
    struct loam_ticketlock lock = { 0 };
    const loam_irq_state first = loam_ticketlock_acquire_irq(&lock);
    (void)first;
    return loam_ticketlock_acquire_irq(&lock) != 0;
}
