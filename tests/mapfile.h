/*
 * mapfile.h - read recorded memory maps: the one parser of tests and tools.
 *
 * A file is lines of text. Empty lines are skipped. The others are:
 *
 *     # key value ...             metadata; an unknown key is a comment
 *     9fc00 400 RESERVED          entry: base and length in hexadecimal, type
 *     [    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
 *                                 entry of a Linux log, the end inclusive; what
 *                                 comes before BIOS-e820: does not matter
 *     [    0.000000] anything     other line of such a log: skipped
 *
 * Anything else is an error, and so is a known key without a proper value, a line
 * of 4096 characters and a mix of both kinds of entries. Entries stay as they are:
 * unsorted, overlapping, empty, unaligned or wrapping; the tests want them so.
 *
 * Type names, upper and lower case alike: USABLE, RESERVED, BAD or UNUSABLE,
 * ACPI_NVS, ACPI_DATA or ACPI_RECLAIMABLE, BOOTLOADER_RECLAIMABLE, FRAMEBUFFER,
 * EXECUTABLE_AND_MODULES, RESERVED_MAPPED; in a log "ACPI data" and "ACPI NVS".
 * A number (TYPE_9, "type 20", "persistent (type 7)") is that of E820: 1 to 5 are
 * the types above, 7 and 12 are reserved, others MAPFILE_UNKNOWN_TYPE(number).
 * PERSISTENT_TYPE7 and the like stay MAPFILE_UNKNOWN_TYPE(7), other words become
 * MAPFILE_UNKNOWN_TYPE(0).
 */
#ifndef LOAM_TESTS_MAPFILE_H
#define LOAM_TESTS_MAPFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <loam/memmap.h>

/* An entry's type that is no enum loam_mem_type, made from its number. */
#define MAPFILE_UNKNOWN_TYPE(number) ((enum loam_mem_type)(0x80000000u | (uint32_t)(number)))

enum mapfile_format {
    MAPFILE_LIMINE, /* has metadata or types that only the Limine protocol has */
    MAPFILE_E820,
    MAPFILE_DMESG,
};

/* Bits of mapfile.present: which metadata the file has. */
enum mapfile_field {
    MAPFILE_HHDM = 1 << 0,
    MAPFILE_BITS = 1 << 1,
    MAPFILE_BASE_REVISION = 1 << 2,
    MAPFILE_PAGING_MODE = 1 << 3,
    MAPFILE_KERNEL_PHYS = 1 << 4,
    MAPFILE_KERNEL_VIRT = 1 << 5,
    MAPFILE_KERNEL_IMAGE_SIZE = 1 << 6,
    MAPFILE_CPU_COUNT = 1 << 7,
    MAPFILE_FRAMEBUFFER = 1 << 8, /* not set by "framebuffer none" */
    MAPFILE_RSDP = 1 << 9,
    MAPFILE_CPUID = 1 << 10,
    MAPFILE_FIRMWARE_TYPE = 1 << 11,
};

struct mapfile_framebuffer {
    uint64_t address; /* as recorded: virtual, in the direct map */
    uint64_t width, height, bits_per_pixel;
    uint64_t pitch; /* bytes */
};

/* Fields that are not present are 0. */
struct mapfile {
    struct loam_memmap_entry *entry; /* owned; at least one */
    size_t entry_count;
    enum mapfile_format format;
    unsigned present;             /* of enum mapfile_field */
    uint64_t hhdm_offset;         /* hhdm */
    uint64_t phys_bits;           /* phys-bits P virt-bits V */
    uint64_t virt_bits;           /* what CPUID says, not what the paging mode is */
    uint64_t revision_requested;  /* base-revision-requested R accepted loaded-tag T */
    bool revision_accepted;       /* false: NOT-accepted */
    uint64_t revision_loaded_tag; /* what the bootloader wrote to the second word */
    unsigned paging_levels;       /* paging-mode: 4 or 5 */
    uint64_t kernel_phys;
    uint64_t kernel_virt;
    uint64_t kernel_image_size;
    uint64_t cpu_count;
    struct mapfile_framebuffer framebuffer;
    uint64_t rsdp;     /* as recorded: physical where base revision 3 was loaded, else virtual */
    bool has_1g_pages; /* cpuid pdpe1gb */
    bool has_nx;       /* cpuid nx */
    uint64_t firmware_type; /* 0: BIOS, 1: UEFI of 32 bits, 2: UEFI of 64 bits */
};

struct mapfile_error {
    size_t line;         /* from 1; 0: not about a line */
    const char *message; /* static */
};

/**
 * Read a map from a stream, to its end.
 *
 * @param map    output, to be freed with mapfile_free(); untouched on failure
 * @param stream open for reading; not closed
 * @param error  filled on failure; may be NULL
 *
 * @return LOAM_OK; LOAM_INVALID: malformed line, no entry, or reading failed;
 *         LOAM_NO_MEMORY
 */
LOAM_NODISCARD enum loam_status mapfile_read(struct mapfile *map, FILE *stream,
                                             struct mapfile_error *error);

/** mapfile_read() of a file. @return also LOAM_NOT_FOUND: it cannot be opened */
LOAM_NODISCARD enum loam_status mapfile_load(struct mapfile *map, const char *path,
                                             struct mapfile_error *error);

/** Free what reading allocated. */
void mapfile_free(struct mapfile *map);

/** @return "limine", "e820" or "dmesg" */
LOAM_NODISCARD const char *mapfile_format_name(enum mapfile_format format);

#endif
