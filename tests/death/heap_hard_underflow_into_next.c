/* dies: heap: written past the end */
#include "heap_hard.h"

int main(void)
{
    char *block[100];
    (void)hard_block(56);
    for (int i = 0; i < 100; i++)
        block[i] = loam_heap_alloc(&heap, 56);
    char *second = block[0];
    for (int i = 1; i < 100; i++) {
        if (block[i] == block[0] + 64 || block[i] == block[0] - 64)
            second = block[i] > block[0] ? block[i] : block[0];
    }
    second[-1] ^= 1;
    for (int i = 0; i < 100; i++)
        loam_heap_free(&heap, block[i]);
    return 0;
}
