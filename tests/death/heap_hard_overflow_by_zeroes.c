/* dies: heap: written past the end */
#include "heap_hard.h"

int main(void)
{
    char *const block = hard_block(60);
    block[60] = block[61] = 0; /* one would be a terminator */
    loam_heap_free(&heap, block);
    return 0;
}
