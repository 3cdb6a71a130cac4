/* dies: heap: already free */
#include "heap_hard.h"

int main(void)
{
    char *const block = hard_block(64);
    char *const other = loam_heap_alloc(&heap, 64);
    loam_heap_free(&heap, block);
    loam_heap_free(&heap, other);
    loam_heap_free(&heap, block);
    return 0;
}
