/* dies: slab: not a cache */
#include "heap.h"

int main(void)
{
    heap_begin();
    struct loam_slab_cache *const cache = a_cache();
    if (loam_slab_destroy(cache, NULL) == LOAM_OK)
        return (int)loam_slab_destroy(cache, NULL);
    return 0;
}
