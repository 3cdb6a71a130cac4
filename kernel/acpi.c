/*
 * acpi.c - see acpi.h. Little-endian fields, not aligned.
 */
#include "acpi.h"

#define RSDP_REVISION   15u
#define RSDP_RSDT       16u
#define RSDP_XSDT       24u
#define REVISION_LONG   2u /* has an XSDT and a second sum */
#define TABLE_LENGTH    4u
#define XSDT_LETTER     'X'
#define POINTER_BYTES   8u /* of an XSDT */
#define POINTER_BYTES_R 4u

static uint64_t read_field(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static bool sums_to_zero(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum == 0;
}

size_t acpi_rsdp_bytes(const void *rsdp)
{
    const uint8_t revision = ((const uint8_t *)rsdp)[RSDP_REVISION];
    return revision >= REVISION_LONG ? ACPI_RSDP_BYTES_MAX : ACPI_RSDP_BYTES;
}

const char *acpi_read_rsdp(const void *rsdp, size_t size, struct acpi_root *out)
{
    const uint8_t *bytes = rsdp;
    *out = (struct acpi_root){ 0, 0 };
    if (__builtin_memcmp(bytes, "RSD PTR ", 8) != 0)
        return "no signature";
    if (!sums_to_zero(bytes, ACPI_RSDP_BYTES))
        return "wrong checksum";
    out->rsdt = read_field(bytes + RSDP_RSDT, 4);
    /* A wrong second sum: believe what the first one covers. */
    if (acpi_rsdp_bytes(rsdp) == ACPI_RSDP_BYTES_MAX && size >= ACPI_RSDP_BYTES_MAX &&
        sums_to_zero(bytes, ACPI_RSDP_BYTES_MAX))
        out->xsdt = read_field(bytes + RSDP_XSDT, 8);
    return out->xsdt == 0 && out->rsdt == 0 ? "it points nowhere" : NULL;
}

uint32_t acpi_length(const void *head)
{
    return (uint32_t)read_field((const uint8_t *)head + TABLE_LENGTH, 4);
}

static unsigned pointer_bytes(const void *root)
{
    return *(const char *)root == XSDT_LETTER ? POINTER_BYTES : POINTER_BYTES_R;
}

uint32_t acpi_pointer_count(const void *root)
{
    return (acpi_length(root) - ACPI_HEAD_BYTES) / pointer_bytes(root);
}

uint64_t acpi_pointer(const void *root, uint32_t index)
{
    const unsigned bytes = pointer_bytes(root);
    if (index >= acpi_pointer_count(root))
        return 0;
    return read_field((const uint8_t *)root + ACPI_HEAD_BYTES + (size_t)index * bytes, bytes);
}

const char *acpi_check(const void *table, size_t size)
{
    if (size < ACPI_HEAD_BYTES || acpi_length(table) != size)
        return "shorter than it claims, or than a table's head";
    return sums_to_zero(table, size) ? NULL : "wrong checksum";
}
