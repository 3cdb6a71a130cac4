/*
 * acpi.c - the few ACPI tables the shim reads: which CPUs there are, which I/O
 * APICs to silence, and which pages hold tables at all.
 *
 * Tables above the shim's reach, or too short for what they claim, are treated as
 * absent. Source: ACPI 6.5, chapter 5.
 */
#include "shim.h"

#define BIOS_AREA     UINT64_C(0xe0000)
#define BIOS_AREA_END UINT64_C(0x100000)
#define EBDA_SEGMENT  UINT64_C(0x40e) /* BIOS data area */
#define EBDA_SIZE     UINT64_C(0x400)

#define MADT_ENTRIES     44u /* offset of the first entry */
#define MADT_LAPIC       0u
#define MADT_IO_APIC     1u
#define MADT_X2APIC      9u
#define MADT_CPU_ENABLED 1u

#define FADT_FACS   36u
#define FADT_DSDT   40u
#define FADT_X_FACS 132u
#define FADT_X_DSDT 140u

#define IO_APIC_WINDOW      0x10u
#define IO_APIC_VERSION     0x01u
#define IO_APIC_REDIRECTION 0x10u
#define IO_APIC_MASKED      (1u << 16)
#define IO_APIC_DELIVERY    0x700u
#define IO_APIC_LOWEST      0x100u /* lowest priority; fixed is 0 */

struct __attribute__((packed)) rsdp {
    char signature[8];
    uint8_t checksum;
    char oem[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length; /* from here on: revision 2 and newer */
    uint64_t xsdt;
    uint8_t checksum2;
    uint8_t reserved[3];
};

struct __attribute__((packed)) table {
    char signature[4];
    uint32_t length;
    uint8_t rest[28];
};

struct __attribute__((packed)) madt_entry {
    uint8_t type, length;
};

struct __attribute__((packed)) madt_lapic {
    struct madt_entry head;
    uint8_t uid, apic_id;
    uint32_t flags;
};

struct __attribute__((packed)) madt_io_apic {
    struct madt_entry head;
    uint8_t id, reserved;
    uint32_t address, first_interrupt;
};

struct __attribute__((packed)) madt_x2apic {
    struct madt_entry head;
    uint16_t reserved;
    uint32_t apic_id, flags, uid;
};

static bool is_rsdp(uint64_t address)
{
    const uint8_t *bytes = at(address);
    uint8_t sum = 0;

    if (memcmp(bytes, "RSD PTR ", 8) != 0)
        return false;
    for (unsigned i = 0; i < 20; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum == 0;
}

static uint64_t scan_for_rsdp(uint64_t from, uint64_t to)
{
    for (uint64_t address = from; address < to; address += 16) {
        if (is_rsdp(address))
            return address;
    }
    return 0;
}

/*
 * The RSDP's physical address, or 0.
 *
 * PVH may name it; a BIOS has it in its own areas; under UEFI there is only the
 * loader's copy, which then moves to ACPI memory of its own.
 */
uint64_t acpi_find_rsdp(const struct input *input)
{
    if (input->rsdp != 0 && input->rsdp < REACH)
        return input->rsdp;
    if (!input->firmware_is_efi) {
        uint16_t segment;
        memcpy(&segment, at(EBDA_SEGMENT), sizeof segment);
        const uint64_t ebda = (uint64_t)segment << 4;
        uint64_t found = 0;
        if (ebda >= UINT64_C(0x80000) && ebda < UINT64_C(0xa0000))
            found = scan_for_rsdp(ebda, ebda + EBDA_SIZE);
        return found != 0 ? found : scan_for_rsdp(BIOS_AREA, BIOS_AREA_END);
    }
    if (input->rsdp_copy_size == 0)
        return 0;
    const uint64_t copy =
        map_carve(PAGE_SIZE, PAGE_SIZE, REACH, LOAM_LIMINE_MEMMAP_ACPI_RECLAIMABLE);
    memcpy(at(copy), input->rsdp_copy, input->rsdp_copy_size);
    return copy;
}

static const struct table *table_at(uint64_t address)
{
    if (address == 0 || address >= REACH)
        return NULL;
    const struct table *table = at(address);
    return table->length >= sizeof *table && table->length < REACH - address ? table : NULL;
}

/* A 4- or 8-byte field at @p offset of @p table; 0 if it is not that long. */
static uint64_t field(const struct table *table, uint32_t offset, uint32_t size)
{
    uint64_t value = 0;
    if (offset <= table->length && size <= table->length - offset)
        memcpy(&value, (const char *)table + offset, size);
    return value;
}

/* The RSDT or XSDT, and the size of its pointers. */
static const struct table *root_table(uint64_t rsdp_address, uint32_t *pointer_size)
{
    const struct rsdp *rsdp = at(rsdp_address);
    const struct table *root = NULL;

    if (rsdp_address == 0)
        return NULL;
    *pointer_size = 8;
    if (rsdp->revision >= 2)
        root = table_at(rsdp->xsdt);
    if (root == NULL) {
        *pointer_size = 4;
        root = table_at(rsdp->rsdt);
    }
    return root;
}

static const struct table *find_table(uint64_t rsdp, const char *signature)
{
    uint32_t step;
    const struct table *root = root_table(rsdp, &step);

    if (root == NULL)
        return NULL;
    for (uint32_t offset = sizeof *root; offset < root->length; offset += step) {
        const struct table *table = table_at(field(root, offset, step));
        if (table != NULL && memcmp(table->signature, signature, 4) == 0)
            return table;
    }
    return NULL;
}

/* ---- pages that hold tables -------------------------------------------------------- */

static void mark(uint64_t address)
{
    const struct table *table = table_at(address);
    if (table != NULL)
        map_change(page_floor(address), page_ceil(address + table->length),
                   LOAM_LIMINE_MEMMAP_RESERVED, LOAM_LIMINE_MEMMAP_RESERVED_MAPPED);
}

/* Base revision 4 and newer: tables in reserved memory become mapped. */
void acpi_mark_tables(uint64_t rsdp)
{
    uint32_t step;
    const struct table *root = root_table(rsdp, &step);

    if (root == NULL)
        return;
    map_change(page_floor(rsdp), page_ceil(rsdp + sizeof(struct rsdp)), LOAM_LIMINE_MEMMAP_RESERVED,
               LOAM_LIMINE_MEMMAP_RESERVED_MAPPED);
    mark((uintptr_t)root);
    for (uint32_t offset = sizeof *root; offset < root->length; offset += step)
        mark(field(root, offset, step));
    const struct table *fadt = find_table(rsdp, "FACP");
    if (fadt == NULL)
        return;
    mark(field(fadt, FADT_FACS, 4));
    mark(field(fadt, FADT_DSDT, 4));
    mark(field(fadt, FADT_X_FACS, 8));
    mark(field(fadt, FADT_X_DSDT, 8));
}

/* ---- MADT ------------------------------------------------------------------------------ */

/* The entry at *offset that is at least 2 bytes and inside the table, or NULL. */
static const struct madt_entry *next_entry(const struct table *madt, uint32_t *offset)
{
    if (madt == NULL || *offset + sizeof(struct madt_entry) > madt->length)
        return NULL;
    const struct madt_entry *entry = (const void *)((const char *)madt + *offset);
    if (entry->length < sizeof *entry || entry->length > madt->length - *offset)
        return NULL;
    *offset += entry->length;
    return entry;
}

static void list_cpu(struct cpu_list *list, uint32_t uid, uint32_t apic_id, uint32_t flags)
{
    if ((flags & MADT_CPU_ENABLED) == 0)
        return;
    for (unsigned i = 0; i < list->count; i++) {
        if (list->cpu[i].apic_id == apic_id)
            return; /* some firmware lists a CPU as both types */
    }
    if (list->count == CPUS_MAX) {
        say("shim: warning: more than 256 CPUs; the rest stays off\n");
        return;
    }
    list->cpu[list->count].uid = uid;
    list->cpu[list->count].apic_id = apic_id;
    list->count++;
}

void acpi_list_cpus(uint64_t rsdp, struct cpu_list *list)
{
    const struct table *madt = find_table(rsdp, "APIC");
    const struct madt_entry *entry;
    uint32_t offset = MADT_ENTRIES;

    while ((entry = next_entry(madt, &offset)) != NULL) {
        const struct madt_lapic *lapic = (const void *)entry;
        const struct madt_x2apic *x2apic = (const void *)entry;
        if (entry->type == MADT_LAPIC && entry->length >= sizeof *lapic)
            list_cpu(list, lapic->uid, lapic->apic_id, lapic->flags);
        else if (entry->type == MADT_X2APIC && entry->length >= sizeof *x2apic)
            list_cpu(list, x2apic->uid, x2apic->apic_id, x2apic->flags);
    }
}

static void mask_io_apic(uint64_t address)
{
    volatile uint32_t *select = at(address);
    volatile uint32_t *window = at(address + IO_APIC_WINDOW);

    *select = IO_APIC_VERSION;
    const uint32_t last = *window >> 16 & 0xff;
    for (uint32_t i = 0; i <= last; i++) {
        *select = IO_APIC_REDIRECTION + 2 * i;
        const uint32_t entry = *window;
        if ((entry & IO_APIC_DELIVERY) <= IO_APIC_LOWEST)
            *window = entry | IO_APIC_MASKED;
    }
}

void acpi_mask_interrupts(uint64_t rsdp)
{
    const struct table *madt = find_table(rsdp, "APIC");
    const struct madt_entry *entry;
    uint32_t offset = MADT_ENTRIES;

    while ((entry = next_entry(madt, &offset)) != NULL) {
        const struct madt_io_apic *io_apic = (const void *)entry;
        if (entry->type == MADT_IO_APIC && entry->length >= sizeof *io_apic)
            mask_io_apic(io_apic->address);
    }
}
