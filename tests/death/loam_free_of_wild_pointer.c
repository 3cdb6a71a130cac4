/* dies: heap: not a block of this heap */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    loam_free(&mm, (void *)(uintptr_t)0xdeadbeef0); /* never dereferenced */
    return 0;
}
