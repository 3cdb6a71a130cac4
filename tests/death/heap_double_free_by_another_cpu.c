/* dies: slab: already free */
#include "heap.h"

int main(void)
{
    heap_begin();
    void *const block = loam_heap_alloc(&heap, 64);
    loam_heap_free(&heap, block);
    world_cpu = 1;
    loam_heap_free(&heap, block);
    trim_all();
    return 0;
}
