/* dies: slab: already free */
#include "heap.h"

int main(void)
{
    heap_begin();
    struct loam_slab_cache *const cache = a_cache();
    void *const object = loam_slab_alloc(cache);
    loam_slab_free(cache, object);
    loam_slab_free(cache, object);
    return 0;
}
