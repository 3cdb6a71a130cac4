/*
 * power.c - see power.h. Ports of QEMU's machines; elsewhere nobody listens.
 */
#include "power.h"

#include "instructions.h"

#define DEBUG_EXIT_PORT 0xf4u   /* isa-debug-exit */
#define PC_POWER_PORT   0x604u  /* PIIX4 and ICH9 power management */
#define OLD_POWER_PORT  0xb004u /* the same, before QEMU 2 and in Bochs */
#define SLEEP_ENABLE    0x2000u

_Noreturn void power_exit(enum power_status status)
{
    x86_interrupts_off();
    x86_out8(DEBUG_EXIT_PORT, (uint8_t)status);
    if (status == POWER_SUCCESS) { /* a failure is to be read on the screen */
        x86_out16(PC_POWER_PORT, SLEEP_ENABLE);
        x86_out16(OLD_POWER_PORT, SLEEP_ENABLE);
    }
    for (;;)
        x86_halt();
}
