/* dies: heap: not a block of this heap */
#include "heap.h"

int main(void)
{
    heap_begin();
    char *const block = loam_heap_alloc(&heap, 1000);
    return (int)loam_heap_usable(&heap, block + 16);
    return 0;
}
