/* dies: slab: not an object of this cache */
#include "heap.h"

int main(void)
{
    heap_begin();
    struct loam_slab_cache *const cache = a_cache();
    loam_slab_free(cache, (char *)loam_slab_alloc(cache) + 8);
    return 0;
}
