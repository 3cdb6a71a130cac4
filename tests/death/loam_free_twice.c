/* dies: heap: already free */
#include "loam_world.h"

int main(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        return 1;
    void *const block = loam_malloc(&mm, 100);
    loam_free(&mm, block);
    loam_free(&mm, block);
    return 0;
}
