/*
 * text.h - the only text formatting of the library: through a writer, without
 * buffers of the caller, without printf.
 *
 * A width is the least number of characters written; what is longer is written
 * whole. Texts given are terminated and at most 1024 characters long.
 *
 * Context of all functions: that of the writer; they take no lock.
 */
#ifndef LOAM_INTERNAL_TEXT_H
#define LOAM_INTERNAL_TEXT_H

#include <loam/types.h>

/** Write text as it is. */
void loam_text_string(const struct loam_writer *writer, const char *text);

/** Write text, then blanks up to @p width. */
void loam_text_left(const struct loam_writer *writer, const char *text, size_t width);

/** Write text right-aligned in @p width. */
void loam_text_right(const struct loam_writer *writer, const char *text, size_t width);

/** Write "0x" and 16 hexadecimal digits. */
void loam_text_hex(const struct loam_writer *writer, uint64_t value);

/** Write a decimal number, right-aligned in @p width. */
void loam_text_decimal(const struct loam_writer *writer, uint64_t value, size_t width);

/**
 * Write an amount of bytes for people, right-aligned in @p width: "384 KiB",
 * "3.5 GiB", "64 TiB". The unit is the largest that the amount reaches. A whole
 * number of it is exact; else there is one decimal, rounded down, so that "1.0
 * KiB" says: a little more than 1 KiB. At most LOAM_TEXT_SIZE_MAX characters.
 */
void loam_text_size(const struct loam_writer *writer, uint64_t bytes, size_t width);

#define LOAM_TEXT_DECIMAL_MAX 20u /* digits of 2^64 - 1, and of 2^64 */
#define LOAM_TEXT_SIZE_MAX    10u /* "1023.9 KiB" */

#endif
