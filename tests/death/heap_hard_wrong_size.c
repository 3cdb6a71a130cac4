/* dies: heap: wrong size */
#include "heap_hard.h"

int main(void)
{
    char *const block = hard_block(64);
    loam_heap_free_sized(&heap, block, 63);
    return 0;
}
