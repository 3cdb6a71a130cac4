/*
 * boot.h - what a bootloader told us, in one form for all bootloaders.
 *
 * A boot adapter fills struct loam_boot, the kernel adds its image sections,
 * loam_init() checks and uses it.
 */
#ifndef LOAM_BOOT_H
#define LOAM_BOOT_H

#include "directmap.h"
#include "early.h"
#include "locked.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Storage for a memory map of up to @p raw_count raw entries, in the kernel's
 * own data: LOAM_BOOT_STORAGE(storage, 1024); One entry is kept for the image. */
/* clang-format off */
#define LOAM_BOOT_STORAGE(name, raw_count)                                               \
    static struct loam_memmap_entry name##_raw[(raw_count) + 1];                         \
    static struct loam_memmap_entry name##_map[LOAM_MEMMAP_STORAGE((raw_count) + 1)];    \
    static struct loam_early_record name##_records[LOAM_EARLY_RECORDS((raw_count), 64)]; \
    static const struct loam_boot_storage name = {                                       \
        name##_raw,     (raw_count) + 1,                                                 \
        name##_map,     LOAM_MEMMAP_STORAGE((raw_count) + 1),                            \
        name##_records, LOAM_EARLY_RECORDS((raw_count), 64),                             \
    }
/* clang-format on */

/* All borrowed for the life of struct loam. */
struct loam_boot_storage {
    struct loam_memmap_entry *raw;
    size_t raw_max;
    struct loam_memmap_entry *map;
    size_t map_max;
    struct loam_early_record *records;
    size_t records_max;
};

struct loam_boot {
    uint32_t struct_bytes;            /* sizeof(struct loam_boot) of the caller */
    unsigned cpu_count;               /* 1..LOAM_CPUS_MAX */
    struct loam_boot_storage storage; /* storage.raw holds raw_count entries */
    size_t raw_count;                 /* < storage.raw_max: loam_init() adds the image */
    struct loam_hhdm hhdm;
    uint64_t hhdm_bytes;       /* the direct map shows [0, this); 0: as far as fits */
    bool hhdm_is_identity;     /* offset 0 is meant */
    loam_mem_types hhdm_types; /* what the bootloader maps there, and so shall we */
    unsigned levels;           /* paging levels announced: 4 or 5 */
    struct loam_image image;
    loam_virt code;                     /* an address in the running code; 0: not to be checked */
    loam_virt stack;                    /* an address on the running stack; 0: not to be checked */
    loam_phys rsdp;                     /* ACPI root pointer; none if unknown */
    uint64_t heap_bytes;                /* wanted span of the heap; 0: LOAM_HEAP_BYTES_DEFAULT.
                                           LOAM_ALLOCATOR_HEAP has none: not read */
    enum loam_allocator_kind heap_kind; /* LOAM_ALLOCATOR_NONE: LOAM_HEAP_DEFAULT */
    enum loam_locked_kind heap_lock;    /* 0: ticket lock */
    struct loam_caller_lock *heap_caller_lock; /* see struct loam_locked_options */
    bool heap_debug;                           /* watch every block: debug.h */
    bool probe;                                /* distrust the map: see loam_boot_probe() */
    bool ram_is_zeroed; /* usable memory holds zeroes, all of it: a hypervisor started the
                           kernel without firmware, say. Metadata then is not cleared, and
                           takes host memory where it is used. Garbage: undefined */
    const struct loam_repair_visitor *repairs; /* may be NULL; until loam_init() returns */
};

/**
 * Check everything that can be checked before the memory map is read: version,
 * direct map offset and window, paging levels, CPU count, image.
 *
 * @param boot         what an adapter filled; a forged hhdm panics
 * @param features     of the boot CPU
 * @param window_bytes set on LOAM_OK: the direct map can show [0, this)
 * @param refusal      filled on failure; may be NULL
 *
 * @return LOAM_OK, LOAM_INVALID or LOAM_UNSUPPORTED
 */
LOAM_NODISCARD enum loam_status loam_boot_check(const struct loam_boot *boot,
                                                const struct loam_cpu_features *features,
                                                uint64_t *window_bytes,
                                                struct loam_refusal *refusal);

/**
 * Does usable memory hold what is written to it? Tries one word of every usable
 * page, past the caches, and appends the pages that forget to the raw map as
 * LOAM_MEM_BAD. Contents are restored.
 *
 * @param boot      its storage receives the entries; its direct map shows all
 *                  usable memory
 * @param map       normalised
 * @param raw_count entries of storage.raw in use; advanced
 * @param refusal   filled on failure; may be NULL
 *
 * @return LOAM_OK; LOAM_NO_SPACE: no room for another raw entry
 *
 * Context: boot CPU, on the bootloader's tables. O(usable memory).
 */
LOAM_NODISCARD enum loam_status loam_boot_probe(const struct loam_boot *boot,
                                                const struct loam_memmap *map, size_t *raw_count,
                                                struct loam_refusal *refusal);

#ifdef __cplusplus
}
#endif
#endif
