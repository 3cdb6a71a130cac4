/*
 * text.h - memory and text functions of a kernel without a C library. Texts are
 * terminated by a zero byte.
 */
#ifndef KERNEL_TEXT_H
#define KERNEL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

size_t text_length(const char *text);
bool text_is(const char *a, const char *b);

/** @return what follows @p prefix in @p text; NULL: it does not begin so */
const char *text_after(const char *text, const char *prefix);

/** Copy and terminate; cut to room - 1 characters. @param from NULL: empty */
void text_copy(char *to, const char *from, size_t room);

/** Read decimal, or hexadecimal after 0x, with K, M or G behind it. @return false: not a number */
bool text_number(const char *text, uint64_t *value);

#endif
