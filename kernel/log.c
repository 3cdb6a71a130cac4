/*
 * log.c - see log.h. Text goes straight to the UART: no buffer, no limit.
 */
#include "log.h"

#include <loam/lock.h>
#include <loam/x86.h>
#include <stdarg.h>

#include "serial.h"
#include "text.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

static const char *const level_names[] = { "ERROR ", "WARN  ", "INFO  ", "DEBUG " };

static struct loam_spinlock console; /* the UART */
static enum log_level shown = LOG_INFO;
static bool panicking; /* set when every other CPU stands still */

/* ---- one conversion ------------------------------------------------------- */

struct conversion {
    bool left;
    char fill;
    unsigned width;
    bool is_long;
    char kind;
};

static void write_padding(char fill, size_t count)
{
    while (count-- > 0)
        serial_write(&fill, 1);
}

static void write_field(const struct conversion *c, const char *text, size_t size)
{
    const size_t padding = size < c->width ? c->width - size : 0;
    if (!c->left)
        write_padding(c->fill, padding);
    serial_write(text, size);
    if (c->left)
        write_padding(' ', padding);
}

static void write_number(const struct conversion *c, bool is_negative, uint64_t value,
                         unsigned radix)
{
    char digits[21]; /* of 2^64 - 1, and a sign */
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value % radix];
        value /= radix;
    } while (value != 0);
    if (is_negative)
        digits[--at] = '-';
    write_field(c, digits + at, sizeof digits - at);
}

static void write_pointer(const void *pointer)
{
    const struct conversion hex = { false, '0', 16, true, 'x' };
    serial_write("0x", 2);
    write_number(&hex, false, (uint64_t)(uintptr_t)pointer, 16);
}

/* Read what follows a '%'. @return behind it */
static const char *parse(const char *format, struct conversion *c)
{
    *c = (struct conversion){ false, ' ', 0, false, '\0' };
    for (; *format == '-' || *format == '0'; format++) {
        if (*format == '-')
            c->left = true;
        else
            c->fill = '0';
    }
    for (; *format >= '0' && *format <= '9'; format++)
        c->width = c->width * 10 + (unsigned)(*format - '0');
    for (; *format == 'l' || *format == 'z'; format++)
        c->is_long = true;
    c->kind = *format;
    return *format != '\0' ? format + 1 : format;
}

static void write_format(const char *format, va_list *values)
{
    struct conversion c;
    while (*format != '\0') {
        const char *start = format;
        while (*format != '\0' && *format != '%')
            format++;
        serial_write(start, (size_t)(format - start));
        if (*format == '\0')
            return;
        format = parse(format + 1, &c);
        if (c.kind == 'd') {
            const int64_t value = c.is_long ? va_arg(*values, long) : va_arg(*values, int);
            write_number(&c, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
        } else if (c.kind == 'u' || c.kind == 'x') {
            const uint64_t value =
                c.is_long ? va_arg(*values, unsigned long) : va_arg(*values, unsigned);
            write_number(&c, false, value, c.kind == 'x' ? 16 : 10);
        } else if (c.kind == 'p') {
            write_pointer(va_arg(*values, void *));
        } else if (c.kind == 's') {
            const char *text = va_arg(*values, const char *);
            text = text != NULL ? text : "(none)";
            write_field(&c, text, text_length(text));
        } else if (c.kind == 'c') {
            const char one = (char)va_arg(*values, int);
            write_field(&c, &one, 1);
        } else if (c.kind == '%') {
            serial_write("%", 1);
        }
    }
}

/* ---- lines ------------------------------------------------------------------ */

/* The lock is not taken in a panic: its holder may have been stopped. */
static loam_irq_state console_acquire(void) LOAM_UNCHECKED
{
    const loam_irq_state irq = loam_x86_irq_save();
    if (!panicking)
        loam_spinlock_acquire(&console);
    return irq;
}

static void console_release(loam_irq_state irq) LOAM_UNCHECKED
{
    if (!panicking)
        loam_spinlock_release(&console);
    loam_x86_irq_restore(irq);
}

static void write_line(enum log_level level, const char *format, va_list *values)
{
    if (level > shown)
        return;
    const loam_irq_state irq = console_acquire();
    serial_write(level_names[level], text_length(level_names[level]));
    write_format(format, values);
    serial_write("\n", 1);
    console_release(irq);
}

void log_error(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    write_line(LOG_ERROR, format, &values);
    va_end(values);
}

void log_warn(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    write_line(LOG_WARN, format, &values);
    va_end(values);
}

void log_info(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    write_line(LOG_INFO, format, &values);
    va_end(values);
}

void log_debug(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    write_line(LOG_DEBUG, format, &values);
    va_end(values);
}

void log_text(const char *format, ...)
{
    if (shown < LOG_INFO)
        return;
    va_list values;
    va_start(values, format);
    const loam_irq_state irq = console_acquire();
    write_format(format, &values);
    console_release(irq);
    va_end(values);
}

static void writer_write(void *context, const char *text, size_t size_bytes)
{
    (void)context;
    if (shown < LOG_INFO)
        return;
    const loam_irq_state irq = console_acquire();
    serial_write(text, size_bytes);
    console_release(irq);
}

struct loam_writer log_writer(void)
{
    return (struct loam_writer){ writer_write, NULL };
}

void log_quiet(void)
{
    shown = LOG_WARN;
}

void log_verbose(void)
{
    shown = LOG_DEBUG;
}

void log_panic(void)
{
    panicking = true;
    shown = LOG_DEBUG;
}
