/* dies: heap: already free */
#include "heap_hard.h"

int main(void)
{
    char *const block = hard_block(64);
    loam_heap_free(&heap, block);
    return loam_heap_realloc(&heap, block, 60) == NULL;
}
