/*
 * serial.h - the console: COM1, polled.
 */
#ifndef KERNEL_SERIAL_H
#define KERNEL_SERIAL_H

#include <stdbool.h>
#include <stddef.h>

void serial_init(void);

/** Send text; a newline becomes CR LF. The caller serialises. Any context. */
void serial_write(const char *text, size_t size);

/** Take a received character. @return false: there is none */
bool serial_read(char *c);

#endif
