/*
 * limine.h - boot adapter for the Limine protocol. Header-only.
 *
 *     LOAM_LIMINE(limine);                  requests, markers and revision tag
 *     LOAM_BOOT_STORAGE(storage, 1024);     room for the memory map
 *
 *     loam_boot_limine(&boot, &storage, &limine, &refusal);
 *
 * A kernel that has requests of its own may instead copy their response pointers
 * into a struct loam_limine: the bootloader refuses two requests of one kind.
 */
#ifndef LOAM_BOOT_LIMINE_H
#define LOAM_BOOT_LIMINE_H

#include "../loam.h"
#include "adapter.h"
#include "limine_protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Everything Loam asks of the bootloader, in the order the scan wants it. */
struct loam_limine {
    uint64_t start_marker[4];
    volatile uint64_t base_revision[3];
    struct loam_limine_bootloader_info_request bootloader_info;
    struct loam_limine_stack_size_request stack_size;
    struct loam_limine_hhdm_request hhdm;
    struct loam_limine_memmap_request memmap;
    struct loam_limine_paging_mode_request paging_mode;
    struct loam_limine_mp_request mp;
    struct loam_limine_executable_address_request executable_address;
    struct loam_limine_executable_file_request executable_file;
    struct loam_limine_executable_cmdline_request cmdline;
    struct loam_limine_module_request module;
    struct loam_limine_framebuffer_request framebuffer;
    struct loam_limine_rsdp_request rsdp;
    uint64_t end_marker[2];
};

#define LOAM_LIMINE_STACK_BYTES (UINT64_C(64) << 10)

/* Define the requests, in initialised data where the bootloader scans for them. */
/* clang-format off */
#define LOAM_LIMINE(name)                                                                   \
    __attribute__((used, aligned(8), section(".limine_requests"))) struct loam_limine name = { \
        LOAM_LIMINE_REQUESTS_START,                                                         \
        LOAM_LIMINE_BASE_REVISION(LOAM_LIMINE_REVISION_WANTED),                             \
        { LOAM_LIMINE_ID_BOOTLOADER_INFO, 0, NULL },                                        \
        { LOAM_LIMINE_ID_STACK_SIZE, 0, NULL, LOAM_LIMINE_STACK_BYTES },                    \
        { LOAM_LIMINE_ID_HHDM, 0, NULL },                                                   \
        { LOAM_LIMINE_ID_MEMMAP, 0, NULL },                                                 \
        { LOAM_LIMINE_ID_PAGING_MODE, 1, NULL, LOAM_LIMINE_PAGING_5_LEVEL,                  \
          LOAM_LIMINE_PAGING_5_LEVEL, LOAM_LIMINE_PAGING_4_LEVEL },                         \
        { LOAM_LIMINE_ID_MP, 0, NULL, LOAM_LIMINE_MP_X2APIC },                              \
        { LOAM_LIMINE_ID_EXECUTABLE_ADDRESS, 0, NULL },                                     \
        { LOAM_LIMINE_ID_EXECUTABLE_FILE, 0, NULL },                                        \
        { LOAM_LIMINE_ID_EXECUTABLE_CMDLINE, 0, NULL },                                     \
        { LOAM_LIMINE_ID_MODULE, 0, NULL, 0, NULL },                                        \
        { LOAM_LIMINE_ID_FRAMEBUFFER, 0, NULL },                                            \
        { LOAM_LIMINE_ID_RSDP, 0, NULL },                                                   \
        LOAM_LIMINE_REQUESTS_END,                                                           \
    }
/* clang-format on */

/**
 * Base revision the bootloader really used.
 *
 * @return what the bootloader wrote to the tag's second word; 0 if it left that
 *         word alone: then it knows no revision above 2, whatever it granted
 */
LOAM_NODISCARD static inline uint64_t loam_limine_revision(const struct loam_limine *limine)
{
    const uint64_t loaded = limine->base_revision[1];
    return loaded != LOAM_LIMINE_BASE_MAGIC_1 ? loaded : 0;
}

/** Memory types that a bootloader maps in its direct map at a base revision. */
LOAM_NODISCARD static inline loam_mem_types loam_limine_hhdm_types(uint64_t revision)
{
    loam_mem_types types = LOAM_MEM_BIT(LOAM_MEM_USABLE) | LOAM_MEM_BIT(LOAM_MEM_BOOT_RECLAIMABLE) |
                           LOAM_MEM_BIT(LOAM_MEM_EXECUTABLE) | LOAM_MEM_BIT(LOAM_MEM_FRAMEBUFFER);
    if (revision >= 4)
        types |= LOAM_MEM_BIT(LOAM_MEM_ACPI_RECLAIMABLE) | LOAM_MEM_BIT(LOAM_MEM_ACPI_NVS) |
                 LOAM_MEM_BIT(LOAM_MEM_RESERVED_MAPPED);
    return types;
}

/** Loam's type for a type of the protocol. @param type any number; unknown: RESERVED */
LOAM_NODISCARD static inline enum loam_mem_type loam_limine_mem_type(uint64_t type)
{
    switch (type) {
    case LOAM_LIMINE_MEMMAP_USABLE:
        return LOAM_MEM_USABLE;
    case LOAM_LIMINE_MEMMAP_ACPI_RECLAIMABLE:
        return LOAM_MEM_ACPI_RECLAIMABLE;
    case LOAM_LIMINE_MEMMAP_ACPI_NVS:
        return LOAM_MEM_ACPI_NVS;
    case LOAM_LIMINE_MEMMAP_BAD_MEMORY:
        return LOAM_MEM_BAD;
    case LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE:
        return LOAM_MEM_BOOT_RECLAIMABLE;
    case LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES:
        return LOAM_MEM_EXECUTABLE;
    case LOAM_LIMINE_MEMMAP_FRAMEBUFFER:
        return LOAM_MEM_FRAMEBUFFER;
    case LOAM_LIMINE_MEMMAP_RESERVED_MAPPED:
        return LOAM_MEM_RESERVED_MAPPED;
    default: /* LOAM_LIMINE_MEMMAP_RESERVED, and whatever comes after us */
        return LOAM_MEM_RESERVED;
    }
}

/** CPUs of the machine, the boot CPU included; UINT32_MAX stands for more. */
LOAM_NODISCARD static inline unsigned loam_limine_cpu_count(const struct loam_limine *limine)
{
    const struct loam_limine_mp_response *mp = limine->mp.response;
    if (mp == NULL)
        return 1;
    return mp->cpu_count < UINT32_MAX ? (unsigned)mp->cpu_count : UINT32_MAX;
}

/* Can everything be had, and does it fit? Nothing is written. */
LOAM_NODISCARD static inline enum loam_status loam_limine_check_(
    const struct loam_limine *limine, const struct loam_boot_storage *storage,
    struct loam_refusal *refusal)
{
    const uint64_t revision = loam_limine_revision(limine);
    const struct loam_limine_memmap_response *memmap = limine->memmap.response;
    const struct loam_limine_framebuffer_response *fbs = limine->framebuffer.response;
    if (revision < LOAM_LIMINE_REVISION_MIN)
        return loam_boot_refuse_(refusal, LOAM_UNSUPPORTED,
                                 "limine: base revision 3 or newer is needed", revision,
                                 LOAM_LIMINE_REVISION_MIN);
    if (revision > LOAM_LIMINE_REVISION_WANTED)
        return loam_boot_refuse_(refusal, LOAM_UNSUPPORTED,
                                 "limine: base revision is newer than any that Loam knows",
                                 revision, LOAM_LIMINE_REVISION_WANTED);
    if (limine->hhdm.response == NULL)
        return loam_boot_refuse_(refusal, LOAM_NOT_FOUND, "limine: no HHDM response", 0, 0);
    if (memmap == NULL)
        return loam_boot_refuse_(refusal, LOAM_NOT_FOUND, "limine: no memory map response", 0, 0);
    if (memmap->entry_count == 0 || memmap->entries == NULL)
        return loam_boot_refuse_(refusal, LOAM_INVALID, "limine: the memory map has no entry",
                                 memmap->entry_count, 1);
    if (limine->executable_address.response == NULL)
        return loam_boot_refuse_(refusal, LOAM_NOT_FOUND, "limine: no executable address response",
                                 0, 0);

    const uint64_t room = storage->raw_max != 0 ? storage->raw_max - 1 : 0;
    if (memmap->entry_count > room)
        return loam_boot_refuse_(refusal, LOAM_NO_SPACE,
                                 "limine: memory map has more entries than there is room for",
                                 memmap->entry_count, room);
    if (fbs != NULL && fbs->framebuffer_count > room - memmap->entry_count)
        return loam_boot_refuse_(refusal, LOAM_NO_SPACE,
                                 "limine: more framebuffers than there is room for beside the "
                                 "memory map",
                                 fbs->framebuffer_count, room - memmap->entry_count);
    for (uint64_t i = 0; fbs != NULL && i < fbs->framebuffer_count; i++) {
        const struct loam_limine_framebuffer *fb = fbs->framebuffers[i];
        if (fb->height != 0 && fb->pitch > UINT64_MAX / fb->height)
            return loam_boot_refuse_(refusal, LOAM_INVALID,
                                     "limine: framebuffer is larger than the address space "
                                     "(bytes per row, rows)",
                                     fb->pitch, fb->height);
    }
    return LOAM_OK;
}

static inline void loam_limine_put_(struct loam_boot *boot, loam_phys start, uint64_t size,
                                    enum loam_mem_type type)
{
    struct loam_memmap_entry *entry = &boot->storage.raw[boot->raw_count++];
    entry->range = loam_phys_range_of(start, size);
    entry->type = type;
}

/**
 * Fill @p boot from the responses. Nothing of the bootloader's is written.
 * Framebuffers become entries of their own: some maps do not list them.
 *
 * @param boot    output, untouched on failure; add the image's sections with
 *                loam_image_add() next
 * @param storage permanent; receives the raw memory map, untouched on failure
 * @param limine  requests with their responses; not retained
 * @param refusal filled on failure; may be NULL
 *
 * @return LOAM_OK; LOAM_UNSUPPORTED: base revision below 3 or above the newest
 *         known; LOAM_NOT_FOUND: no memory map, HHDM or executable address
 *         response; LOAM_INVALID: empty memory map, or a framebuffer of absurd
 *         size; LOAM_NO_SPACE: more entries than the storage holds (nothing is
 *         ever truncated)
 *
 * Context: boot CPU, on the bootloader's tables.
 */
LOAM_NODISCARD static inline enum loam_status loam_boot_limine(
    struct loam_boot *boot, const struct loam_boot_storage *storage,
    const struct loam_limine *limine, struct loam_refusal *refusal)
{
    const enum loam_status st = loam_limine_check_(limine, storage, refusal);
    if (st != LOAM_OK)
        return st;

    const uint64_t revision = loam_limine_revision(limine);
    const struct loam_limine_memmap_response *memmap = limine->memmap.response;
    const struct loam_limine_framebuffer_response *fbs = limine->framebuffer.response;
    const struct loam_limine_paging_mode_response *paging = limine->paging_mode.response;
    const struct loam_limine_rsdp_response *rsdp = limine->rsdp.response;
    __builtin_memset(boot, 0, sizeof *boot);
    boot->struct_bytes = sizeof *boot;
    boot->storage = *storage;
    boot->cpu_count = loam_limine_cpu_count(limine);
    boot->hhdm = loam_boot_hhdm(limine->hhdm.response->offset);
    boot->hhdm_types = loam_limine_hhdm_types(revision);
    boot->levels = paging != NULL && paging->mode == LOAM_LIMINE_PAGING_5_LEVEL ? 5 : 4;
    boot->image.phys_base = loam_phys_at(limine->executable_address.response->physical_base);
    boot->image.virt_base = loam_virt_at(limine->executable_address.response->virtual_base);
    boot->code = loam_boot_here_();
    boot->stack = loam_virt_of(__builtin_frame_address(0));
    boot->rsdp = loam_phys_none();
    if (rsdp != NULL)
        boot->rsdp = revision == 3 ? loam_phys_at(rsdp->address)
                                   : loam_hhdm_phys(boot->hhdm, loam_virt_at(rsdp->address));

    for (uint64_t i = 0; i < memmap->entry_count; i++) {
        const struct loam_limine_memmap_entry *entry = memmap->entries[i];
        loam_limine_put_(boot, loam_phys_at(entry->base), entry->length,
                         loam_limine_mem_type(entry->type));
    }
    for (uint64_t i = 0; fbs != NULL && i < fbs->framebuffer_count; i++) {
        const struct loam_limine_framebuffer *fb = fbs->framebuffers[i];
        loam_limine_put_(boot, loam_hhdm_phys(boot->hhdm, loam_virt_of(fb->address)),
                         fb->pitch * fb->height, LOAM_MEM_FRAMEBUFFER);
    }
    return LOAM_OK;
}

#ifdef __cplusplus
}
#endif
#endif
