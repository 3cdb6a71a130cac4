/* dies: slab: not a cache */
#include "heap.h"

int main(void)
{
    heap_begin();
    return loam_slab_alloc(&heap.cache[3]) == NULL;
    return 0;
}
