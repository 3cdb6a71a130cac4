/* dies: heap: written past the end */
#include "heap_hard.h"

int main(void)
{
    char *const block = hard_block(100001);
    block[100001] = 1;
    loam_heap_free(&heap, block);
    return 0;
}
