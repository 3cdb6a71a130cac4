/* dies: slab: not an object of this cache */
#include "heap.h"

int main(void)
{
    heap_begin();
    loam_slab_free(a_cache(), loam_heap_alloc(&heap, 48));
    return 0;
}
