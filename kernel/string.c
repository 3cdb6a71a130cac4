/*
 * string.c - the four functions that compilers call and Loam needs, by the
 * string instructions: short, and fast where it matters.
 */
#include "text.h"

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    void *cursor = to;
    __asm__ volatile("rep movsb" : "+D"(cursor), "+S"(from), "+c"(size) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    if ((uintptr_t)to - (uintptr_t)from >= size) /* a forward copy reads before it writes */
        return memcpy(to, from, size);
    uint8_t *target = to;
    const uint8_t *source = from;
    while (size-- > 0) {
        target[size] = source[size];
        __asm__ volatile("" : : : "memory"); /* else compilers see memmove() in it, and call it */
    }
    return to;
}

void *memset(void *to, int value, size_t size)
{
    void *cursor = to;
    __asm__ volatile("rep stosb" : "+D"(cursor), "+c"(size) : "a"(value) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *left = a, *right = b;
    for (size_t i = 0; i < size; i++) {
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
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

bool text_is(const char *a, const char *b)
{
    const size_t length = text_length(a);
    return length == text_length(b) && memcmp(a, b, length) == 0;
}

const char *text_after(const char *text, const char *prefix)
{
    const size_t length = text_length(prefix);
    return text_length(text) >= length && memcmp(text, prefix, length) == 0 ? text + length : NULL;
}

void text_copy(char *to, const char *from, size_t room)
{
    size_t length = 0;
    while (from != NULL && length + 1 < room && from[length] != '\0') {
        to[length] = from[length];
        length++;
    }
    to[length] = '\0';
}

static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A') + 10;
    return 16;
}

static unsigned unit_shift(char unit)
{
    switch (unit) {
    case 'K':
        return 10;
    case 'M':
        return 20;
    case 'G':
        return 30;
    default:
        return 0;
    }
}

bool text_number(const char *text, uint64_t *value)
{
    const char *digits = text_after(text, "0x");
    const unsigned radix = digits != NULL ? 16 : 10;
    uint64_t number = 0;
    if (digits == NULL)
        digits = text;
    const char *p = digits;
    for (; digit_of(*p) < radix; p++) {
        if (__builtin_mul_overflow(number, (uint64_t)radix, &number) ||
            __builtin_add_overflow(number, (uint64_t)digit_of(*p), &number))
            return false;
    }
    if (p == digits)
        return false;
    const unsigned shift = unit_shift(*p);
    if (shift != 0)
        p++;
    if (*p != '\0' || number << shift >> shift != number)
        return false;
    *value = number << shift;
    return true;
}
