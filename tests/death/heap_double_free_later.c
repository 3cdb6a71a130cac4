/* dies: slab: already free */
#include "heap.h"

int main(void)
{
    heap_begin();
    void *const block = loam_heap_alloc(&heap, 64);
    void *const other = loam_heap_alloc(&heap, 64);
    loam_heap_free(&heap, block);
    loam_heap_free(&heap, other);
    loam_heap_free(&heap, block);
    (void)loam_heap_trim(&heap);
    return 0;
}
