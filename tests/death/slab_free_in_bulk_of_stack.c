/* dies: slab: not an object of this cache */
#include "heap.h"

int main(void)
{
    heap_begin();
    struct loam_slab_cache *const cache = a_cache();
    int local;
    void *const object[] = { loam_slab_alloc(cache), &local };
    loam_slab_free_bulk(cache, object, 2);
    return 0;
}
