/*
 * string.c - the memory functions that compilers call, and text.
 */
#include "cpu.h"
#include "shim.h"

void *memcpy(void *to, const void *from, size_t size)
{
    return memmove(to, from, size);
}

void *memmove(void *to, const void *from, size_t size)
{
    volatile char *t = to; /* else the compiler turns the loop into a call of memmove */
    const char *f = from;
    const size_t whole = size & ~(size_t)7;

    if ((uintptr_t)to - (uintptr_t)from >= size) {
        cpu_copy_words(to, from, size / 8);
        cpu_copy_bytes((char *)to + whole, f + whole, size % 8);
        return to;
    }
    while (size-- > 0)
        t[size] = f[size];
    return to;
}

void *memset(void *to, int value, size_t size)
{
    const uint8_t byte = (uint8_t)value;

    cpu_store_words(to, byte * UINT64_C(0x0101010101010101), size / 8);
    cpu_store_bytes((char *)to + (size & ~(size_t)7), byte, size % 8);
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const unsigned char *x = a;
    const unsigned char *y = b;

    for (size_t i = 0; i < size; i++) {
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    }
    return 0;
}

size_t text_length(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0')
        length++;
    return length;
}

bool text_starts(const char *text, const char *prefix)
{
    while (*prefix != '\0') {
        if (*text++ != *prefix++)
            return false;
    }
    return true;
}

void text_copy(char *to, const char *from, size_t room)
{
    size_t i = 0;
    while (i + 1 < room && from[i] != '\0') {
        to[i] = from[i];
        i++;
    }
    to[i] = '\0';
}
