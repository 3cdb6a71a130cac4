/*
 * multiboot2.h - boot adapter for the Multiboot2 information block, as GRUB hands
 * it over. Header-only.
 *
 *     request.magic = eax;   request.info = loam_phys_at(ebx);
 *     request.mapped.hhdm_offset = ...;      what the kernel's entry code mapped
 *     loam_boot_multiboot2(&boot, &storage, &request, &refusal);
 *
 *     block   [size|0][tag     ][tag ][tag          ]...[end]     tags on 8 bytes
 *     tag             [type|size|data)
 *
 * The block is walked twice: the first walk checks every size in it and counts,
 * so that the second cannot fail. Sizes are trusted only after they were compared
 * with what holds them: tag with block, entry with tag.
 */
#ifndef LOAM_BOOT_MULTIBOOT2_H
#define LOAM_BOOT_MULTIBOOT2_H

#include "e820.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the format: Multiboot2 specification, section 3.6 ------------------- */

#define LOAM_MB2_MAGIC UINT32_C(0x36d76289) /* in EAX at entry */

#define LOAM_MB2_TAG_END          0u
#define LOAM_MB2_TAG_MODULE       3u
#define LOAM_MB2_TAG_MEMMAP       6u
#define LOAM_MB2_TAG_FRAMEBUFFER  8u
#define LOAM_MB2_TAG_RSDP_OLD     14u /* holds a copy of an ACPI 1.0 RSDP */
#define LOAM_MB2_TAG_RSDP_NEW     15u /* holds a copy of an ACPI 2.0 RSDP */
#define LOAM_MB2_TAG_EFI_MEMMAP   17u
#define LOAM_MB2_TAG_EFI_SERVICES 18u /* boot services were not exited */

#define LOAM_MB2_ALIGN       8u  /* of the block and of every tag, bytes */
#define LOAM_MB2_BLOCK_BYTES 16u /* of the smallest block: its header and an end tag */

struct loam_mb2_tag {
    uint32_t type;
    uint32_t size; /* bytes, header included, padding to the next tag not */
};

struct loam_mb2_module {
    struct loam_mb2_tag tag;
    uint32_t start; /* physical */
    uint32_t end;   /* one past the last byte; a string follows in the tag */
};

/* Head of LOAM_MB2_TAG_MEMMAP and LOAM_MB2_TAG_EFI_MEMMAP; entries follow. */
struct loam_mb2_memmap {
    struct loam_mb2_tag tag;
    uint32_t entry_size; /* bytes from one entry to the next */
    uint32_t entry_version;
};

struct loam_mb2_memmap_entry {
    uint64_t base;
    uint64_t length; /* bytes */
    uint32_t type;   /* the numbers of E820 */
    uint32_t reserved;
};

struct loam_mb2_framebuffer {
    struct loam_mb2_tag tag;
    uint64_t address; /* physical */
    uint32_t pitch;   /* bytes per row */
    uint32_t width;
    uint32_t height; /* rows, of pixels or of characters */
    uint8_t bpp;
    uint8_t kind;
    uint16_t reserved;
};

/* ---- UEFI specification, section 7.2: memory descriptors ----------------- */

#define LOAM_EFI_LOADER_CODE      1u
#define LOAM_EFI_LOADER_DATA      2u
#define LOAM_EFI_SERVICES_CODE    3u /* boot services: over once they were exited */
#define LOAM_EFI_SERVICES_DATA    4u
#define LOAM_EFI_CONVENTIONAL     7u
#define LOAM_EFI_UNUSABLE         8u
#define LOAM_EFI_ACPI_RECLAIMABLE 9u
#define LOAM_EFI_ACPI_NVS         10u

#define LOAM_EFI_WRITE_BACK       UINT64_C(0x8) /* can be cached so */
#define LOAM_EFI_NON_VOLATILE     UINT64_C(0x8000)
#define LOAM_EFI_SPECIFIC_PURPOSE UINT64_C(0x40000) /* meant for drivers */

#define LOAM_EFI_VERSION 1u

struct loam_efi_descriptor {
    uint32_t type;
    uint32_t reserved;
    uint64_t physical_start;
    uint64_t virtual_start;
    uint64_t page_count; /* of 4 KiB */
    uint64_t attributes;
};

LOAM_STATIC_ASSERT(sizeof(struct loam_mb2_memmap_entry) == 24, "the layout is the loader's");
LOAM_STATIC_ASSERT(sizeof(struct loam_mb2_framebuffer) == 32, "the layout is the loader's");
LOAM_STATIC_ASSERT(sizeof(struct loam_efi_descriptor) == 40, "the layout is the firmware's");

/* ---- what the caller says ------------------------------------------------ */

struct loam_mb2_boot {
    uint32_t magic; /* EAX at entry */
    loam_phys info; /* EBX at entry: the information block; not retained */
    struct loam_boot_mapped mapped;
};

/* ---- tags ---------------------------------------------------------------- */

/**
 * Loam's type for an EFI memory descriptor.
 *
 * Memory of boot services is free by the book, yet BOOT_RECLAIMABLE: ACPI's boot
 * logo lies in it, and some firmware still uses it until its runtime services
 * were moved. So it is given out only when the kernel says so, by loam_reclaim().
 *
 * @param type       any number; unknown: RESERVED
 * @param attributes RAM that cannot be cached, does not forget or has a purpose of
 *                   its own is RESERVED
 */
LOAM_NODISCARD static inline enum loam_mem_type loam_efi_mem_type(uint32_t type,
                                                                  uint64_t attributes)
{
    const bool is_plain_ram =
        (attributes & (LOAM_EFI_WRITE_BACK | LOAM_EFI_NON_VOLATILE | LOAM_EFI_SPECIFIC_PURPOSE)) ==
        LOAM_EFI_WRITE_BACK;
    switch (type) {
    case LOAM_EFI_CONVENTIONAL:
        return is_plain_ram ? LOAM_MEM_USABLE : LOAM_MEM_RESERVED;
    case LOAM_EFI_LOADER_CODE:
    case LOAM_EFI_LOADER_DATA:
    case LOAM_EFI_SERVICES_CODE:
    case LOAM_EFI_SERVICES_DATA:
        return is_plain_ram ? LOAM_MEM_BOOT_RECLAIMABLE : LOAM_MEM_RESERVED;
    case LOAM_EFI_ACPI_RECLAIMABLE:
        return LOAM_MEM_ACPI_RECLAIMABLE;
    case LOAM_EFI_ACPI_NVS:
        return LOAM_MEM_ACPI_NVS;
    case LOAM_EFI_UNUSABLE:
        return LOAM_MEM_BAD;
    default: /* runtime services, device registers, persistent, not yet accepted */
        return LOAM_MEM_RESERVED;
    }
}

/* Bytes of a tag that its format prescribes. */
LOAM_NODISCARD static inline uint32_t loam_mb2_tag_bytes_(uint32_t type)
{
    switch (type) {
    case LOAM_MB2_TAG_MODULE:
    case LOAM_MB2_TAG_MEMMAP:
    case LOAM_MB2_TAG_EFI_MEMMAP:
        return 16;
    case LOAM_MB2_TAG_FRAMEBUFFER:
        return 31; /* the last field is one byte by the text, two in GRUB */
    case LOAM_MB2_TAG_RSDP_OLD:
        return 8 + 20;
    case LOAM_MB2_TAG_RSDP_NEW:
        return 8 + 36;
    default:
        return 8;
    }
}

/* Read the head of the tag @p at bytes into a block of @p total bytes. */
LOAM_NODISCARD static inline enum loam_status loam_mb2_tag_at_(const unsigned char *info,
                                                               uint64_t total, uint64_t at,
                                                               struct loam_mb2_tag *tag,
                                                               struct loam_refusal *refusal)
{
    if (at + sizeof *tag > total)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: the information block has no end tag (bytes)", total,
                                 at + sizeof *tag);
    __builtin_memcpy(tag, info + at, sizeof *tag);
    if (tag->size > total - at)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: tag runs past the information block (bytes)",
                                 tag->size, total - at);
    if (tag->size < loam_mb2_tag_bytes_(tag->type))
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: tag is smaller than its format (bytes)", tag->size,
                                 loam_mb2_tag_bytes_(tag->type));
    return LOAM_OK;
}

LOAM_NODISCARD static inline uint64_t loam_mb2_next_(uint64_t at, const struct loam_mb2_tag *tag)
{
    return at + (((uint64_t)tag->size + LOAM_MB2_ALIGN - 1) & ~(uint64_t)(LOAM_MB2_ALIGN - 1));
}

LOAM_NODISCARD static inline enum loam_status loam_mb2_check_memmap_(const unsigned char *at,
                                                                     size_t entry_bytes,
                                                                     struct loam_refusal *refusal)
{
    struct loam_mb2_memmap map;
    __builtin_memcpy(&map, at, sizeof map);
    if (map.tag.type == LOAM_MB2_TAG_EFI_MEMMAP && map.entry_version != LOAM_EFI_VERSION)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: EFI memory map is of an unknown version",
                                 map.entry_version, LOAM_EFI_VERSION);
    if (map.entry_size < entry_bytes)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: memory map entry is smaller than its format (bytes)",
                                 map.entry_size, entry_bytes);
    if ((map.tag.size - sizeof map) % map.entry_size != 0)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: memory map is no whole number of entries (bytes)",
                                 map.tag.size - sizeof map, map.entry_size);
    return LOAM_OK;
}

/* Entries of a checked map. */
LOAM_NODISCARD static inline uint64_t loam_mb2_memmap_entries_(const unsigned char *at)
{
    struct loam_mb2_memmap map;
    __builtin_memcpy(&map, at, sizeof map);
    return (map.tag.size - sizeof map) / map.entry_size;
}

/* ---- first walk: check and count ----------------------------------------- */

struct loam_mb2_survey_ {
    uint64_t bios_entries;
    uint64_t efi_entries;
    uint64_t other_entries; /* modules, framebuffers, the block itself */
    bool services;          /* EFI boot services still run */
};

LOAM_NODISCARD static inline enum loam_status loam_mb2_survey_tag_(const unsigned char *at,
                                                                   struct loam_mb2_survey_ *survey,
                                                                   struct loam_refusal *refusal)
{
    struct loam_mb2_module module;
    enum loam_status st = LOAM_OK;
    __builtin_memcpy(&module.tag, at, sizeof module.tag);
    switch (module.tag.type) {
    case LOAM_MB2_TAG_MODULE:
        __builtin_memcpy(&module, at, sizeof module);
        if (module.end < module.start)
            return loam_boot_refuse_(refusal, LOAM_INVALID,
                                     "multiboot2: module ends before it starts", module.end,
                                     module.start);
        survey->other_entries++;
        break;
    case LOAM_MB2_TAG_FRAMEBUFFER:
        survey->other_entries++;
        break;
    case LOAM_MB2_TAG_MEMMAP:
        st = loam_mb2_check_memmap_(at, sizeof(struct loam_mb2_memmap_entry), refusal);
        if (st == LOAM_OK)
            survey->bios_entries += loam_mb2_memmap_entries_(at);
        break;
    case LOAM_MB2_TAG_EFI_MEMMAP:
        st = loam_mb2_check_memmap_(at, sizeof(struct loam_efi_descriptor), refusal);
        if (st == LOAM_OK)
            survey->efi_entries += loam_mb2_memmap_entries_(at);
        break;
    case LOAM_MB2_TAG_EFI_SERVICES:
        survey->services = true;
        break;
    default:
        break;
    }
    return st;
}

LOAM_NODISCARD static inline enum loam_status loam_mb2_survey_block_(
    const unsigned char *info, uint64_t total, struct loam_mb2_survey_ *survey,
    struct loam_refusal *refusal)
{
    struct loam_mb2_tag tag;
    __builtin_memset(survey, 0, sizeof *survey);
    survey->other_entries = 1;
    for (uint64_t at = LOAM_MB2_ALIGN;; at = loam_mb2_next_(at, &tag)) {
        enum loam_status st = loam_mb2_tag_at_(info, total, at, &tag, refusal);
        if (st != LOAM_OK || tag.type == LOAM_MB2_TAG_END)
            return st;
        st = loam_mb2_survey_tag_(info + at, survey, refusal);
        if (st != LOAM_OK)
            return st;
    }
}

/* ---- second walk: fill --------------------------------------------------- */

static inline void loam_mb2_put_(struct loam_boot *boot, uint64_t start, uint64_t size,
                                 enum loam_mem_type type)
{
    struct loam_memmap_entry *entry = &boot->storage.raw[boot->raw_count++];
    entry->range.start = loam_phys_at(start);
    entry->range.size = size;
    entry->type = type;
}

static inline void loam_mb2_put_memmap_(struct loam_boot *boot, const unsigned char *at)
{
    struct loam_mb2_memmap map;
    __builtin_memcpy(&map, at, sizeof map);
    const uint64_t count = loam_mb2_memmap_entries_(at);
    for (uint64_t i = 0; i < count; i++) {
        struct loam_mb2_memmap_entry entry;
        __builtin_memcpy(&entry, at + sizeof map + i * map.entry_size, sizeof entry);
        loam_mb2_put_(boot, entry.base, entry.length, loam_e820_mem_type(entry.type));
    }
}

/* Sizes that leave the address space become the largest; loam_init() clips them. */
static inline void loam_mb2_put_efi_memmap_(struct loam_boot *boot, const unsigned char *at)
{
    struct loam_mb2_memmap map;
    __builtin_memcpy(&map, at, sizeof map);
    const uint64_t count = loam_mb2_memmap_entries_(at);
    for (uint64_t i = 0; i < count; i++) {
        struct loam_efi_descriptor efi;
        __builtin_memcpy(&efi, at + sizeof map + i * map.entry_size, sizeof efi);
        const uint64_t size = efi.page_count <= UINT64_MAX / LOAM_PAGE_SIZE
                                  ? efi.page_count * LOAM_PAGE_SIZE
                                  : UINT64_MAX;
        loam_mb2_put_(boot, efi.physical_start, size, loam_efi_mem_type(efi.type, efi.attributes));
    }
}

static inline void loam_mb2_put_tag_(struct loam_boot *boot, const unsigned char *at, bool use_efi)
{
    struct loam_mb2_module module;
    struct loam_mb2_framebuffer fb;
    __builtin_memcpy(&module.tag, at, sizeof module.tag);
    switch (module.tag.type) {
    case LOAM_MB2_TAG_MODULE:
        __builtin_memcpy(&module, at, sizeof module);
        loam_mb2_put_(boot, module.start, module.end - module.start, LOAM_MEM_EXECUTABLE);
        break;
    case LOAM_MB2_TAG_FRAMEBUFFER:
        __builtin_memcpy(&fb, at, offsetof(struct loam_mb2_framebuffer, bpp));
        loam_mb2_put_(boot, fb.address, (uint64_t)fb.pitch * fb.height, LOAM_MEM_FRAMEBUFFER);
        break;
    case LOAM_MB2_TAG_MEMMAP:
        if (!use_efi)
            loam_mb2_put_memmap_(boot, at);
        break;
    case LOAM_MB2_TAG_EFI_MEMMAP: /* without use_efi it is empty */
        loam_mb2_put_efi_memmap_(boot, at);
        break;
    default:
        break;
    }
}

/* The copies of the RSDP lie in the block, behind their tags' heads. */
static inline void loam_mb2_put_rsdp_(struct loam_boot *boot, const struct loam_mb2_tag *tag,
                                      loam_phys at)
{
    if (tag->type == LOAM_MB2_TAG_RSDP_NEW ||
        (tag->type == LOAM_MB2_TAG_RSDP_OLD && loam_phys_is_none(boot->rsdp)))
        boot->rsdp = loam_phys_at(at.addr + sizeof *tag);
}

static inline void loam_mb2_fill_(struct loam_boot *boot, const struct loam_mb2_boot *request,
                                  const unsigned char *info, uint64_t total, bool use_efi)
{
    struct loam_mb2_tag tag;
    loam_mb2_put_(boot, request->info.addr, total, LOAM_MEM_BOOT_RECLAIMABLE);
    for (uint64_t at = LOAM_MB2_ALIGN;; at = loam_mb2_next_(at, &tag)) {
        __builtin_memcpy(&tag, info + at, sizeof tag);
        if (tag.type == LOAM_MB2_TAG_END)
            return;
        loam_mb2_put_tag_(boot, info + at, use_efi);
        loam_mb2_put_rsdp_(boot, &tag, loam_phys_at(request->info.addr + at));
    }
}

/* ---- the adapter --------------------------------------------------------- */

/* Find the block and its size. */
LOAM_NODISCARD static inline enum loam_status loam_mb2_open_(const struct loam_mb2_boot *request,
                                                             uint32_t *total,
                                                             struct loam_refusal *refusal)
{
    const uint64_t start = request->info.addr;
    const uint64_t window =
        request->mapped.hhdm_bytes != 0 ? request->mapped.hhdm_bytes : UINT64_MAX;
    if (request->magic != LOAM_MB2_MAGIC)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: the magic number is another protocol's",
                                 request->magic, LOAM_MB2_MAGIC);
    if (start == 0 || start % LOAM_MB2_ALIGN != 0)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: no information block at this address", start, 0);
    if (start >= window || window - start < LOAM_MB2_BLOCK_BYTES)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: the direct map does not show the information block",
                                 start, window);
    __builtin_memcpy(total,
                     loam_hhdm_pointer(loam_boot_hhdm(request->mapped.hhdm_offset), request->info),
                     sizeof *total);
    if (*total < LOAM_MB2_BLOCK_BYTES)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: the information block is too small (bytes)", *total,
                                 LOAM_MB2_BLOCK_BYTES);
    if (window - start < *total)
        return loam_boot_refuse_(refusal, LOAM_INVALID,
                                 "multiboot2: the direct map does not show the information block",
                                 start + *total, window);
    return LOAM_OK;
}

/**
 * Fill @p boot from a Multiboot2 information block. The EFI memory map is used
 * if there is one, else the BIOS's. Modules become EXECUTABLE entries, the
 * framebuffer a FRAMEBUFFER entry, the block itself a BOOT_RECLAIMABLE one:
 * boot->rsdp points into it.
 *
 * @param boot    output; untouched on failure. Add the image's sections with
 *                loam_image_add() next: the loader's map does not tell of them
 * @param storage permanent; receives the raw memory map, untouched on failure
 * @param request see there; not retained
 * @param refusal filled on failure; may be NULL
 *
 * @return LOAM_OK; LOAM_INVALID: the block is malformed; LOAM_UNSUPPORTED: EFI
 *         boot services still run, so that no memory map is final;
 *         LOAM_NOT_FOUND: no memory map; LOAM_NO_SPACE: more entries than the
 *         storage holds (nothing is ever truncated)
 *
 * Context: boot CPU, on the tables that @p request describes.
 */
LOAM_NODISCARD static inline enum loam_status loam_boot_multiboot2(
    struct loam_boot *boot, const struct loam_boot_storage *storage,
    const struct loam_mb2_boot *request, struct loam_refusal *refusal)
{
    struct loam_mb2_survey_ survey;
    uint32_t total;
    enum loam_status st = loam_mb2_open_(request, &total, refusal);
    if (st != LOAM_OK)
        return st;
    const unsigned char *info = (const unsigned char *)loam_hhdm_pointer(
        loam_boot_hhdm(request->mapped.hhdm_offset), request->info);
    st = loam_mb2_survey_block_(info, total, &survey, refusal);
    if (st != LOAM_OK)
        return st;
    if (survey.services)
        return loam_boot_refuse_(refusal, LOAM_UNSUPPORTED,
                                 "multiboot2: EFI boot services were not exited", 1, 0);
    const bool use_efi = survey.efi_entries != 0;
    if (!use_efi && survey.bios_entries == 0)
        return loam_boot_refuse_(refusal, LOAM_NOT_FOUND, "multiboot2: no memory map", 0, 1);
    const uint64_t count =
        survey.other_entries + (use_efi ? survey.efi_entries : survey.bios_entries);
    if (count >= storage->raw_max)
        return loam_boot_refuse_(refusal, LOAM_NO_SPACE,
                                 "multiboot2: more memory map entries than there is room for",
                                 count, storage->raw_max != 0 ? storage->raw_max - 1 : 0);

    *boot = loam_boot_of_mapped_(storage, &request->mapped);
    loam_mb2_fill_(boot, request, info, total, use_efi);
    boot->code = loam_boot_here_();
    boot->stack = loam_virt_of(__builtin_frame_address(0));
    return LOAM_OK;
}

#ifdef __cplusplus
}
#endif
#endif
