/* dies: heap: wrong size */
#include "heap.h"

int main(void)
{
    heap_begin();
    loam_heap_free_sized(&heap, loam_heap_alloc(&heap, 100000), 200000);
    return 0;
}
