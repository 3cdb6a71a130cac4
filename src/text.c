/*
 * text.c - see internal/text.h.
 *
 * Numbers are made from their last character backwards in a small array: no
 * length has to be known beforehand.
 */
#include "internal/text.h"

#define TEXT_HEX_DIGITS 16u
#define TEXT_LENGTH_MAX 1024u

/* Bounded, or compilers that were not told "freestanding" make it a call of
 * strlen(), which a kernel need not have. */
static size_t text_length(const char *text)
{
    size_t length = 0;

    while (length < TEXT_LENGTH_MAX && text[length] != '\0')
        length++;
    return length;
}

static void text_blanks(const struct loam_writer *writer, size_t count)
{
    static const char blanks[] = "                ";
    const size_t chunk_max = sizeof(blanks) - 1;

    while (count > 0) {
        const size_t chunk = count < chunk_max ? count : chunk_max;
        writer->write(writer->context, blanks, chunk);
        count -= chunk;
    }
}

static void text_right_aligned(const struct loam_writer *writer, const char *text, size_t length,
                               size_t width)
{
    if (length < width)
        text_blanks(writer, width - length);
    writer->write(writer->context, text, length);
}

/* Put the digits of @p value before @p end. Returns where they start. */
static char *text_digits_before(char *end, uint64_t value)
{
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return end;
}

void loam_text_string(const struct loam_writer *writer, const char *text)
{
    writer->write(writer->context, text, text_length(text));
}

void loam_text_left(const struct loam_writer *writer, const char *text, size_t width)
{
    const size_t length = text_length(text);

    writer->write(writer->context, text, length);
    if (length < width)
        text_blanks(writer, width - length);
}

void loam_text_right(const struct loam_writer *writer, const char *text, size_t width)
{
    text_right_aligned(writer, text, text_length(text), width);
}

void loam_text_hex(const struct loam_writer *writer, uint64_t value)
{
    char text[2 + TEXT_HEX_DIGITS] = { '0', 'x' };

    for (size_t i = sizeof(text) - 1; i >= 2; i--) {
        text[i] = "0123456789abcdef"[value & 0xf];
        value >>= 4;
    }
    writer->write(writer->context, text, sizeof(text));
}

void loam_text_decimal(const struct loam_writer *writer, uint64_t value, size_t width)
{
    char text[LOAM_TEXT_DECIMAL_MAX];
    char *const end = text + sizeof(text);
    const char *const start = text_digits_before(end, value);

    text_right_aligned(writer, start, (size_t)(end - start), width);
}

void loam_text_size(const struct loam_writer *writer, uint64_t bytes, size_t width)
{
    static const char units[7][5] = { " B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB" };
    unsigned unit = 0;

    while (unit < 6 && bytes >> (10 * (unit + 1)) != 0)
        unit++;
    const unsigned shift = 10 * unit;
    const uint64_t whole = bytes >> shift;
    const uint64_t rest = bytes - (whole << shift);

    char text[LOAM_TEXT_SIZE_MAX];
    char *const end = text + sizeof(text);
    char *start = end - text_length(units[unit]);
    for (size_t i = 0; start + i != end; i++)
        start[i] = units[unit][i];
    if (rest != 0) { /* rest < 2^60: ten times it still fits */
        *--start = (char)('0' + (rest * 10 >> shift));
        *--start = '.';
    }
    start = text_digits_before(start, whole);
    text_right_aligned(writer, start, (size_t)(end - start), width);
}
