/* dies: heap: written after free */
#include "heap_hard.h"

int main(void)
{
    char *const block = hard_block(64);
    loam_heap_free(&heap, block);
    block[5] = 1;
    for (int i = 0; i < 1000; i++)
        loam_heap_free(&heap, loam_heap_alloc(&heap, 64));
    return 0;
}
