/* dies: slab: not an object of this cache */
#include "heap.h"

int main(void)
{
    heap_begin();
    loam_slab_free(a_cache(), loam_slab_alloc(a_cache()));
    return 0;
}
