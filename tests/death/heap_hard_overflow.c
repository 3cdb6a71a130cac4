/* dies: heap: written past the end */
#include "heap_hard.h"

int main(void)
{
    char *const block = hard_block(64);
    block[64] = 1;
    loam_heap_free(&heap, block);
    return 0;
}
