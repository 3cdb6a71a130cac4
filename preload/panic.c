/*
 * panic.c - what the library asks of its host: the end, and some instructions.
 */
#include <loam/port.h>
#include <stdlib.h>
#include <unistd.h>

#include "../src/internal/text.h"
#include "report.h"

/* Without stdio, which may be in the middle of something. */
void loam_port_panic(const struct loam_panic *panic)
{
    struct preload_text text = { .descriptor = STDERR_FILENO, .length = 0 };
    const struct loam_writer writer = { preload_text_write, &text };

    loam_text_string(&writer, "loam: ");
    loam_text_string(&writer, panic->rule);
    loam_text_string(&writer, ": ");
    loam_text_hex(&writer, panic->subject);
    loam_text_string(&writer, ", detail ");
    loam_text_hex(&writer, panic->detail);
    loam_text_string(&writer, "\n");
    preload_text_flush(&text);
    abort();
}

uint64_t loam_x86_irq_save(void)
{
    return 0;
}

void loam_x86_irq_restore(uint64_t flags)
{
    (void)flags;
}

void loam_x86_pause(void)
{
    __builtin_ia32_pause();
}
