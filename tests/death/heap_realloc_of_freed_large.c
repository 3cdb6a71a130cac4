/* dies: heap: not a block of this heap */
#include "heap.h"

int main(void)
{
    heap_begin();
    void *const block = loam_heap_alloc(&heap, 1000000);
    loam_heap_free(&heap, block);
    return loam_heap_realloc(&heap, block, 2000000) == NULL;
    return 0;
}
