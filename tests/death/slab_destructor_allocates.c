/* dies: slab: its destructor allocated from a cache that goes */
#include "heap.h"

static struct loam_slab_cache *cache;
static bool is_going;

static void destructor(void *context, void *object)
{
    (void)context, (void)object;
    if (is_going)
        (void)!loam_slab_alloc(cache);
}

/* What its CPU has at hand are many slabs: some go while others have free slots. */
int main(void)
{
    const struct loam_slab_setup setup = { .name = "doomed",
                                           .size_bytes = 500,
                                           .destructor = destructor };
    void *object[250];

    heap_begin();
    if (loam_slab_create(&heap, &setup, &cache) != LOAM_OK)
        return 1;
    for (unsigned i = 0; i < COUNT(object); i++)
        object[i] = loam_slab_alloc(cache);
    loam_slab_free_bulk(cache, object, COUNT(object));
    is_going = true;
    return loam_slab_destroy(cache, NULL) == LOAM_OK;
}
