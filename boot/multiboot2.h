/*
 * multiboot2.h - the boot information of Multiboot2, as far as the shim reads it.
 *
 * A size, then tags, each aligned to 8 bytes, until a tag of type 0. Source: the
 * Multiboot2 specification, version 2.0.
 */
#ifndef SHIM_MULTIBOOT2_H
#define SHIM_MULTIBOOT2_H

#include <stdint.h>

#define MB2_HEADER_MAGIC 0xe85250d6u
#define MB2_LOADER_MAGIC 0x36d76289u /* in %eax at entry */

#define MB2_TAG_END            0u
#define MB2_TAG_CMDLINE        1u
#define MB2_TAG_MODULE         3u
#define MB2_TAG_MEMMAP         6u
#define MB2_TAG_FRAMEBUFFER    8u
#define MB2_TAG_RSDP_OLD       14u
#define MB2_TAG_RSDP_NEW       15u
#define MB2_TAG_EFI_MEMMAP     17u
#define MB2_TAG_EFI_NOT_EXITED 18u

struct mb2_info {
    uint32_t size; /* of everything, this included */
    uint32_t reserved;
};

struct mb2_tag {
    uint32_t type;
    uint32_t size; /* this header included, padding not */
};

struct mb2_cmdline {
    struct mb2_tag tag;
    char text[];
};

struct mb2_module {
    struct mb2_tag tag;
    uint32_t start, end;
    char text[];
};

/* MB2_TAG_MEMMAP and MB2_TAG_EFI_MEMMAP alike: entries follow, stride entry_size. */
struct mb2_memmap {
    struct mb2_tag tag;
    uint32_t entry_size;
    uint32_t entry_version;
};

struct mb2_memmap_entry {
    uint64_t base;
    uint64_t length;
    uint32_t type; /* as E820 */
    uint32_t reserved;
};

/* UEFI specification, EFI_MEMORY_DESCRIPTOR. */
struct efi_memory_descriptor {
    uint32_t type;
    uint32_t reserved;
    uint64_t physical_start;
    uint64_t virtual_start;
    uint64_t page_count;
    uint64_t attribute;
};

#define MB2_FRAMEBUFFER_RGB 1u

struct mb2_framebuffer {
    struct mb2_tag tag;
    uint64_t address;
    uint32_t pitch, width, height;
    uint8_t bpp;
    uint8_t kind;
    uint16_t reserved;
    uint8_t red_shift, red_size;
    uint8_t green_shift, green_size;
    uint8_t blue_shift, blue_size;
};

/* The loader's copy of the RSDP follows the tag header. */
struct mb2_rsdp {
    struct mb2_tag tag;
    uint8_t rsdp[];
};

#endif
