/* dies: heap: not a block of this heap */
#include "heap.h"

int main(void)
{
    heap_begin();
    int local;
    loam_heap_free(&heap, &local);
    return 0;
}
