/* dies: lock: acquired twice by one CPU */
#include <loam/locked.h>

static struct loam_locked heap; /* zeroes: a heap without memory, a ticket lock */

int main(void)
{
    const loam_irq_state irq = loam_locked_acquire(&heap);
    void *const block = loam_locked_alloc(&heap, 1, 1);
    loam_locked_release(&heap, irq);
    return block != NULL;
}
