/*
 * no_memory.c - operator new in a program without the C++ library: there is nobody to
 * throw, so it ends, and says why.
 */
#include <stddef.h>

void *_Znwm(size_t size);

int main(void)
{
    return _Znwm((size_t)1 << 62) != NULL;
}
