/* dies: heap: not a block of this heap */
#include "heap.h"

int main(void)
{
    heap_begin();
    loam_heap_free(&heap, loam_slab_alloc(a_cache()));
    return 0;
}
