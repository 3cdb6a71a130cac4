/*
 * limine_protocol.h - the public constants and structures of the Limine boot
 * protocol, x86-64, base revisions 3 to 6, as far as Loam needs them.
 *
 * Binary-compatible with the bootloader's own <limine.h>, and able to stand
 * beside it: every name is prefixed. A kernel places requests in its image; the
 * bootloader finds them by id and stores a response pointer in each.
 *
 * All pointers in responses are HHDM addresses unless a comment says otherwise.
 * All responses live in bootloader-reclaimable memory.
 *
 * Source: the Limine boot protocol specification (PROTOCOL.md).
 */
#ifndef LOAM_BOOT_LIMINE_PROTOCOL_H
#define LOAM_BOOT_LIMINE_PROTOCOL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- base revision tag and markers -------------------------------------- */

#define LOAM_LIMINE_BASE_MAGIC_0    UINT64_C(0xf9562b2d5c95a6c8)
#define LOAM_LIMINE_BASE_MAGIC_1    UINT64_C(0x6a7b384944536bdc)
#define LOAM_LIMINE_REVISION_MIN    3u /* oldest base revision Loam runs on */
#define LOAM_LIMINE_REVISION_WANTED 6u /* the one it asks for */

/*
 * The tag is three words. The bootloader zeroes word 2 when it grants the wanted
 * revision; bootloaders that know revision 3 write the revision really used to
 * word 1 in every case.
 */
/* clang-format off */
#define LOAM_LIMINE_BASE_REVISION(wanted) \
    { LOAM_LIMINE_BASE_MAGIC_0, LOAM_LIMINE_BASE_MAGIC_1, (wanted) }

#define LOAM_LIMINE_REQUESTS_START \
    { UINT64_C(0xf6b8f4b39de7d1ae), UINT64_C(0xfab91a6940fcb9cf), \
      UINT64_C(0x785c6ed015d3e316), UINT64_C(0x181e920a7852b9d9) }

#define LOAM_LIMINE_REQUESTS_END { UINT64_C(0xadc0e0531bb10d03), UINT64_C(0x9572709f31764c62) }

/* ---- request ids --------------------------------------------------------- */

#define LOAM_LIMINE_ID(a, b) \
    { UINT64_C(0xc7b1dd30df4c8b88), UINT64_C(0x0a82e883a194f07b), UINT64_C(a), UINT64_C(b) }

#define LOAM_LIMINE_ID_BOOTLOADER_INFO    LOAM_LIMINE_ID(0xf55038d8e2a1202f, 0x279426fcf5f59740)
#define LOAM_LIMINE_ID_STACK_SIZE         LOAM_LIMINE_ID(0x224ef0460a8e8926, 0xe1cb0fc25f46ea3d)
#define LOAM_LIMINE_ID_HHDM               LOAM_LIMINE_ID(0x48dcf1cb8ad2b852, 0x63984e959a98244b)
#define LOAM_LIMINE_ID_FRAMEBUFFER        LOAM_LIMINE_ID(0x9d5827dcd881dd75, 0xa3148604f6fab11b)
#define LOAM_LIMINE_ID_PAGING_MODE        LOAM_LIMINE_ID(0x95c1a0edab0944cb, 0xa4e5cb3842f7488a)
#define LOAM_LIMINE_ID_MP                 LOAM_LIMINE_ID(0x95a67b819a1b857e, 0xa0b61b723b6a73e0)
#define LOAM_LIMINE_ID_MEMMAP             LOAM_LIMINE_ID(0x67cf3d9d378a806f, 0xe304acdfc50c3c62)
#define LOAM_LIMINE_ID_EXECUTABLE_FILE    LOAM_LIMINE_ID(0xad97e90e83f1ed67, 0x31eb5d1c5ff23b69)
#define LOAM_LIMINE_ID_MODULE             LOAM_LIMINE_ID(0x3e7e279702be32af, 0xca1c4f3bd1280cee)
#define LOAM_LIMINE_ID_RSDP               LOAM_LIMINE_ID(0xc5e77b6b397e7b43, 0x27637845accdcf3c)
#define LOAM_LIMINE_ID_EXECUTABLE_ADDRESS LOAM_LIMINE_ID(0x71ba76863cc55f63, 0xb2644a48c516a487)
#define LOAM_LIMINE_ID_EXECUTABLE_CMDLINE LOAM_LIMINE_ID(0x4b161536e598651e, 0xb390ad4a2f1f303a)
/* clang-format on */

/* ---- memory map ---------------------------------------------------------- */

#define LOAM_LIMINE_MEMMAP_USABLE                 0u
#define LOAM_LIMINE_MEMMAP_RESERVED               1u
#define LOAM_LIMINE_MEMMAP_ACPI_RECLAIMABLE       2u
#define LOAM_LIMINE_MEMMAP_ACPI_NVS               3u
#define LOAM_LIMINE_MEMMAP_BAD_MEMORY             4u
#define LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE 5u
#define LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES 6u
#define LOAM_LIMINE_MEMMAP_FRAMEBUFFER            7u
#define LOAM_LIMINE_MEMMAP_RESERVED_MAPPED        8u /* base revision 4 and newer */

/* Usable and reclaimable entries are page-aligned and overlap nothing; the
 * others may do anything. Entries are sorted by base. */
struct loam_limine_memmap_entry {
    uint64_t base;   /* physical */
    uint64_t length; /* bytes */
    uint64_t type;
};

struct loam_limine_memmap_response {
    uint64_t revision;
    uint64_t entry_count;
    struct loam_limine_memmap_entry **entries;
};

/* ---- other responses ----------------------------------------------------- */

struct loam_limine_bootloader_info_response {
    uint64_t revision;
    const char *name;
    const char *version;
};

struct loam_limine_stack_size_response {
    uint64_t revision;
};

struct loam_limine_hhdm_response {
    uint64_t revision;
    uint64_t offset; /* virtual = physical + offset */
};

#define LOAM_LIMINE_PAGING_4_LEVEL 0u
#define LOAM_LIMINE_PAGING_5_LEVEL 1u

struct loam_limine_paging_mode_response {
    uint64_t revision;
    uint64_t mode;
};

struct loam_limine_executable_address_response {
    uint64_t revision;
    uint64_t physical_base; /* the image is physically contiguous */
    uint64_t virtual_base;
};

struct loam_limine_cmdline_response {
    uint64_t revision;
    const char *cmdline;
};

/* Base revision 3: a physical address. Any other: an HHDM address. */
struct loam_limine_rsdp_response {
    uint64_t revision;
    uint64_t address;
};

struct loam_limine_uuid {
    uint32_t a;
    uint16_t b;
    uint16_t c;
    uint8_t d[8];
};

struct loam_limine_file {
    uint64_t revision;
    const void *address; /* page-aligned; its last page is the file's alone */
    uint64_t size;       /* bytes */
    const char *path;
    const char *string;
    uint32_t media_type;
    uint32_t unused;
    uint32_t tftp_ip;
    uint32_t tftp_port;
    uint32_t partition_index;
    uint32_t mbr_disk_id;
    struct loam_limine_uuid gpt_disk_uuid;
    struct loam_limine_uuid gpt_part_uuid;
    struct loam_limine_uuid part_uuid;
};

struct loam_limine_executable_file_response {
    uint64_t revision;
    struct loam_limine_file *file;
};

struct loam_limine_module_response {
    uint64_t revision;
    uint64_t module_count;
    struct loam_limine_file **modules;
};

#define LOAM_LIMINE_FRAMEBUFFER_RGB 1u

struct loam_limine_framebuffer {
    void *address;   /* HHDM address */
    uint64_t width;  /* pixels */
    uint64_t height; /* pixels */
    uint64_t pitch;  /* bytes per row */
    uint16_t bpp;    /* bits per pixel */
    uint8_t memory_model;
    uint8_t red_mask_size;
    uint8_t red_mask_shift;
    uint8_t green_mask_size;
    uint8_t green_mask_shift;
    uint8_t blue_mask_size;
    uint8_t blue_mask_shift;
    uint8_t unused[7];
    uint64_t edid_size;
    const void *edid;
    uint64_t mode_count; /* response revision 1 and newer, as is what follows */
    void **modes;
};

struct loam_limine_framebuffer_response {
    uint64_t revision;
    uint64_t framebuffer_count;
    struct loam_limine_framebuffer **framebuffers;
};

#define LOAM_LIMINE_MP_X2APIC UINT64_C(1) /* request and response flag */

struct loam_limine_mp_info;
typedef void (*loam_limine_goto)(struct loam_limine_mp_info *info);

/* A parked CPU spins on goto_address; an atomic store starts it, with this
 * struct as its argument. It runs on the bootloader's tables, its own stack. */
struct loam_limine_mp_info {
    uint32_t processor_id; /* ACPI UID */
    uint32_t lapic_id;
    uint64_t reserved;
    loam_limine_goto goto_address;
    uint64_t extra_argument; /* free for the kernel */
};

struct loam_limine_mp_response {
    uint64_t revision;
    uint32_t flags;
    uint32_t bsp_lapic_id;
    uint64_t cpu_count; /* the boot CPU included */
    struct loam_limine_mp_info **cpus;
};

/* ---- requests ------------------------------------------------------------ */

/* Common beginning of every request; the response stays NULL if refused. */
#define LOAM_LIMINE_REQUEST(response_type) \
    uint64_t id[4];                        \
    uint64_t revision;                     \
    response_type *response

struct loam_limine_bootloader_info_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_bootloader_info_response);
};

struct loam_limine_stack_size_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_stack_size_response);
    uint64_t stack_size; /* bytes, for every CPU */
};

struct loam_limine_hhdm_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_hhdm_response);
};

struct loam_limine_framebuffer_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_framebuffer_response);
};

struct loam_limine_paging_mode_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_paging_mode_response);
    uint64_t mode;     /* preferred */
    uint64_t max_mode; /* request revision 1 and newer */
    uint64_t min_mode;
};

struct loam_limine_mp_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_mp_response);
    uint64_t flags;
};

struct loam_limine_memmap_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_memmap_response);
};

struct loam_limine_executable_file_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_executable_file_response);
};

struct loam_limine_module_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_module_response);
    uint64_t internal_module_count; /* request revision 1 and newer */
    void **internal_modules;
};

struct loam_limine_rsdp_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_rsdp_response);
};

struct loam_limine_executable_address_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_executable_address_response);
};

struct loam_limine_executable_cmdline_request {
    LOAM_LIMINE_REQUEST(struct loam_limine_cmdline_response);
};

#ifdef __cplusplus
}
#endif
#endif
