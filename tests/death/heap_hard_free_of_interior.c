/* dies: heap: not a block of this heap */
#include "heap_hard.h"

int main(void)
{
    char *const block = hard_block(64);
    loam_heap_free(&heap, block + 16);
    return 0;
}
