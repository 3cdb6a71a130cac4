/*
 * report.h - text for the standard error output, without stdio and without malloc.
 */
#ifndef PRELOAD_REPORT_H
#define PRELOAD_REPORT_H

#include <stddef.h>

/* A writer's context: full, it is written to the descriptor. */
struct preload_text {
    int descriptor;
    size_t length;
    char bytes[256];
};

/** For struct loam_writer. */
void preload_text_write(void *text, const char *bytes, size_t size_bytes);
/** Write what is left. Errors are ignored: there is nobody to tell. */
void preload_text_flush(struct preload_text *text);

#endif
