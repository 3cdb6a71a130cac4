/*
 * firmware.h - the firmware's memory, seen for a while through a window: whether it
 * is in the direct map depends on the bootloader and its protocol's revision.
 */
#ifndef KERNEL_FIRMWARE_H
#define KERNEL_FIRMWARE_H

#include <loam/types.h>

/**
 * Find an ACPI table, prove its checksum, and show it.
 *
 * @param signature four letters
 * @param size      receives its bytes
 *
 * @return the table, readable until firmware_hide(); NULL: there is none, and the
 *         console has what was wrong, if anything was
 *
 * Context: boot CPU, interrupts on or the only CPU; one table at a time.
 */
const void *firmware_table(const char *signature, size_t *size);

void firmware_hide(void);

#endif
