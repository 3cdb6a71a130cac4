/* dies: heap: no such size class */
#include "heap.h"

int main(void)
{
    heap_begin();
    struct loam_slab_stats stats;
    loam_heap_measure_class(&heap, LOAM_HEAP_CLASSES, &stats);
    return 0;
}
