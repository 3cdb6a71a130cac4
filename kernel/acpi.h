/*
 * acpi.h - the way to ACPI's tables. ACPI 6.5, chapter 5.
 *
 *     RSDP -> XSDT or RSDT -> table, table, table...
 *
 * Pure functions over bytes; they also run on the host. firmware.h finds the bytes.
 */
#ifndef KERNEL_ACPI_H
#define KERNEL_ACPI_H

#include <loam/types.h>

#define ACPI_RSDP_BYTES     20u /* of revision 0; what is read first */
#define ACPI_RSDP_BYTES_MAX 36u /* of revision 2 and newer */
#define ACPI_HEAD_BYTES     36u /* of each table */

struct acpi_root {
    uint64_t xsdt, rsdt; /* physical; 0: there is none */
};

/** Bytes of a root pointer. @param rsdp ACPI_RSDP_BYTES of it */
size_t acpi_rsdp_bytes(const void *rsdp);

/**
 * Read the root pointer.
 *
 * @param size ACPI_RSDP_BYTES at least; with less than acpi_rsdp_bytes() only the
 *             RSDT is found
 *
 * @return NULL; or what is wrong with it
 */
const char *acpi_read_rsdp(const void *rsdp, size_t size, struct acpi_root *out);

/** The length a table claims. @param head ACPI_HEAD_BYTES of it */
uint32_t acpi_length(const void *head);

/**
 * The n-th pointer of an XSDT or RSDT.
 *
 * @param root  whole
 * @param index from 0
 *
 * @return physical address; 0: there are not so many, or it points to nothing
 */
uint64_t acpi_pointer(const void *root, uint32_t index);

/** How many pointers it has. */
uint32_t acpi_pointer_count(const void *root);

/** @return NULL; or what is wrong with a table of so many bytes */
const char *acpi_check(const void *table, size_t size);

#endif
