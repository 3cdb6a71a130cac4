/*
 * panic.h - the last report. Every way into it ends in power_exit(POWER_FAILURE).
 */
#ifndef KERNEL_PANIC_H
#define KERNEL_PANIC_H

#include <loam/port.h>

#include "trap.h"

/* The kernel breaks a rule of its own: through the library's hook, as the
 * library's rules do. */
#define PANIC(rule, subject, detail) \
    loam_port_panic(&(const struct loam_panic){ rule, __FILE__, __LINE__, subject, detail })

/* Stop the other CPUs and take the console. A panic inside a panic ends here. */
void panic_begin(const char *what);

/* Backtrace, CPU, registers; the end. */
_Noreturn void panic_end(const struct trap_frame *frame);

_Noreturn void panic_exception(const struct trap_frame *frame);

/* An NMI is how a panic stops other CPUs; any other is one. */
_Noreturn void panic_nmi(const struct trap_frame *frame);

#endif
