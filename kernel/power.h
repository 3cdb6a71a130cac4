/*
 * power.h - the end. QEMU ends with status 2 * value + 1: 33 success, 35 failure.
 */
#ifndef KERNEL_POWER_H
#define KERNEL_POWER_H

enum power_status { POWER_SUCCESS = 0x10, POWER_FAILURE = 0x11 };

/* Switch the machine off, or stop this CPU where that is not possible. Any context. */
_Noreturn void power_exit(enum power_status status);

#endif
