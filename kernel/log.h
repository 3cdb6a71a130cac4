/*
 * log.h - lines of text on the console.
 *
 *     INFO  HHDM offset: 0xffff800000000000
 *
 * A line comes out whole, whichever CPU writes it. Formats: flags - and 0, a
 * width, l or z, and d u x s c p %; %p prints 0x and 16 digits.
 *
 * Context: any but NMI; takes the console's lock with interrupts off.
 */
#ifndef KERNEL_LOG_H
#define KERNEL_LOG_H

#include <loam/types.h>

#define LOG_FORMAT(format_at, values_at) __attribute__((format(printf, format_at, values_at)))

void log_error(const char *format, ...) LOG_FORMAT(1, 2);
void log_warn(const char *format, ...) LOG_FORMAT(1, 2);
void log_info(const char *format, ...) LOG_FORMAT(1, 2);
void log_debug(const char *format, ...) LOG_FORMAT(1, 2);

/* Text without a level and without a newline of its own; of INFO's importance. */
void log_text(const char *format, ...) LOG_FORMAT(1, 2);

/** A writer for the library's print-outs; each call is as log_text(). */
struct loam_writer log_writer(void);

/* From now on only warnings and errors. */
void log_quiet(void);

/* Show DEBUG lines, too. */
void log_verbose(void);

/* The world stops: write without the lock, whoever holds it, and everything. */
void log_panic(void);

#endif
