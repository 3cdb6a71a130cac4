/*
 * input.c - what the previous loader told us, copied before its memory is reused.
 *
 * QEMU's PVH start info and GRUB's boot information lie in memory that the memory
 * map calls free. Everything worth keeping moves to struct input first.
 */
#include "multiboot2.h"
#include "pvh.h"
#include "shim.h"

/* ACPI 6.5, table 15.2: address range types. */
#define E820_USABLE 1u
#define E820_ACPI   3u
#define E820_NVS    4u
#define E820_BAD    5u

/* UEFI 2.10, EFI_MEMORY_TYPE. */
#define EFI_LOADER_CODE        1u
#define EFI_LOADER_DATA        2u
#define EFI_BOOT_SERVICES_CODE 3u
#define EFI_BOOT_SERVICES_DATA 4u
#define EFI_RUNTIME_CODE       5u
#define EFI_RUNTIME_DATA       6u
#define EFI_CONVENTIONAL       7u
#define EFI_ACPI_RECLAIM       9u
#define EFI_ACPI_NVS           10u
#define EFI_PAGE_COUNT_MAX     (PHYS_LIMIT / PAGE_SIZE)

static uint64_t type_of_e820(uint32_t type)
{
    switch (type) {
    case E820_USABLE:
        return LOAM_LIMINE_MEMMAP_USABLE;
    case E820_ACPI:
        return LOAM_LIMINE_MEMMAP_ACPI_RECLAIMABLE;
    case E820_NVS:
        return LOAM_LIMINE_MEMMAP_ACPI_NVS;
    case E820_BAD:
        return LOAM_LIMINE_MEMMAP_BAD_MEMORY;
    default:
        return LOAM_LIMINE_MEMMAP_RESERVED;
    }
}

/* The protocol's table; runtime services are mapped from base revision 5 on, and
 * main() takes that back for older ones. Boot services are exited, but their memory may still hold
 * what the kernel wants to see (the firmware's logo, say): reclaimable. */
static uint64_t type_of_efi(uint32_t type)
{
    switch (type) {
    case EFI_CONVENTIONAL:
        return LOAM_LIMINE_MEMMAP_USABLE;
    case EFI_LOADER_CODE:
    case EFI_LOADER_DATA:
    case EFI_BOOT_SERVICES_CODE:
    case EFI_BOOT_SERVICES_DATA:
        return LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE;
    case EFI_RUNTIME_CODE:
    case EFI_RUNTIME_DATA:
        return LOAM_LIMINE_MEMMAP_RESERVED_MAPPED;
    case EFI_ACPI_RECLAIM:
        return LOAM_LIMINE_MEMMAP_ACPI_RECLAIMABLE;
    case EFI_ACPI_NVS:
        return LOAM_LIMINE_MEMMAP_ACPI_NVS;
    default:
        return LOAM_LIMINE_MEMMAP_RESERVED;
    }
}

static void add_firmware(struct input *input, uint64_t base, uint64_t length, uint64_t type)
{
    if (input->firmware_count == FIRMWARE_MAX)
        fail("the firmware's memory map has too many entries");
    input->firmware[input->firmware_count++] =
        (struct loam_limine_memmap_entry){ base, length, type };
}

static void add_file(struct input *input, uint64_t base, uint64_t size, const char *label)
{
    if (input->file_count == FILES_MAX)
        fail("too many modules");
    if (base >= REACH || size > REACH - base)
        fail_number("a module lies above 4 GiB at", base);
    if (base % PAGE_SIZE != 0)
        fail_number("a module is not page-aligned, at", base);
    struct boot_file *file = &input->file[input->file_count++];
    file->base = base;
    file->size = size;
    text_copy(file->label, label, sizeof file->label);
}

/* ---- PVH --------------------------------------------------------------------- */

static void read_pvh(struct input *input, const struct pvh_start_info *info)
{
    if (info->magic != PVH_MAGIC)
        fail_number("neither PVH nor Multiboot2 started the shim; magic", info->magic);
    if (info->version < 1 || info->memmap_count == 0)
        fail("the PVH start info has no memory map");

    const struct pvh_memmap_entry *entry = at(info->memmap);
    for (uint32_t i = 0; i < info->memmap_count; i++)
        add_firmware(input, entry[i].address, entry[i].size, type_of_e820(entry[i].type));
    const struct pvh_module *module = at(info->modules);
    for (uint32_t i = 0; i < info->module_count; i++)
        add_file(input, module[i].address, module[i].size,
                 module[i].cmdline != 0 ? at(module[i].cmdline) : "kernel");
    if (info->cmdline != 0)
        text_copy(input->cmdline, at(info->cmdline), sizeof input->cmdline);
    input->rsdp = info->rsdp;
}

/* ---- Multiboot2 ---------------------------------------------------------------- */

static void read_efi_memmap(struct input *input, const struct mb2_memmap *map)
{
    const uint32_t bytes = map->tag.size - (uint32_t)sizeof *map;

    if (map->entry_size < sizeof(struct efi_memory_descriptor))
        fail_number("EFI memory descriptors too small:", map->entry_size);
    input->firmware_count = 0; /* it replaces an E820 map */
    input->firmware_is_efi = true;
    for (uint32_t i = 0; i < bytes / map->entry_size; i++) {
        const struct efi_memory_descriptor *d =
            (const void *)((const char *)(map + 1) + (size_t)i * map->entry_size);
        if (d->page_count <= EFI_PAGE_COUNT_MAX)
            add_firmware(input, d->physical_start, d->page_count * PAGE_SIZE, type_of_efi(d->type));
    }
}

static void read_e820_memmap(struct input *input, const struct mb2_memmap *map)
{
    const uint32_t bytes = map->tag.size - (uint32_t)sizeof *map;

    if (map->entry_size < sizeof(struct mb2_memmap_entry))
        fail_number("Multiboot2 memory map entries too small:", map->entry_size);
    if (input->firmware_is_efi)
        return;
    for (uint32_t i = 0; i < bytes / map->entry_size; i++) {
        const struct mb2_memmap_entry *e =
            (const void *)((const char *)(map + 1) + (size_t)i * map->entry_size);
        add_firmware(input, e->base, e->length, type_of_e820(e->type));
    }
}

static void read_framebuffer(struct input *input, const struct mb2_framebuffer *fb)
{
    if (fb->kind != MB2_FRAMEBUFFER_RGB)
        return;
    input->framebuffer = (struct loam_limine_framebuffer){
        .address = at(fb->address),
        .width = fb->width,
        .height = fb->height,
        .pitch = fb->pitch,
        .bpp = fb->bpp,
        .memory_model = LOAM_LIMINE_FRAMEBUFFER_RGB,
        .red_mask_size = fb->red_size,
        .red_mask_shift = fb->red_shift,
        .green_mask_size = fb->green_size,
        .green_mask_shift = fb->green_shift,
        .blue_mask_size = fb->blue_size,
        .blue_mask_shift = fb->blue_shift,
    };
}

static void read_rsdp_copy(struct input *input, const struct mb2_rsdp *tag)
{
    const size_t size = tag->tag.size - sizeof tag->tag;

    if (size > sizeof input->rsdp_copy || size < input->rsdp_copy_size)
        return; /* the newer, longer one is the better one */
    memcpy(input->rsdp_copy, tag->rsdp, size);
    input->rsdp_copy_size = size;
}

static void read_tag(struct input *input, const struct mb2_tag *tag)
{
    switch (tag->type) {
    case MB2_TAG_CMDLINE:
        text_copy(input->cmdline, ((const struct mb2_cmdline *)(const void *)tag)->text,
                  sizeof input->cmdline);
        break;
    case MB2_TAG_MODULE: {
        const struct mb2_module *module = (const void *)tag;
        add_file(input, module->start, module->end - module->start, module->text);
        break;
    }
    case MB2_TAG_MEMMAP:
        read_e820_memmap(input, (const void *)tag);
        break;
    case MB2_TAG_EFI_MEMMAP:
        read_efi_memmap(input, (const void *)tag);
        break;
    case MB2_TAG_EFI_NOT_EXITED:
        fail("UEFI boot services are still running");
    case MB2_TAG_FRAMEBUFFER:
        read_framebuffer(input, (const void *)tag);
        break;
    case MB2_TAG_RSDP_OLD:
    case MB2_TAG_RSDP_NEW:
        read_rsdp_copy(input, (const void *)tag);
        break;
    default:
        break;
    }
}

static void read_mb2(struct input *input, const struct mb2_info *info)
{
    uint32_t offset = sizeof *info;

    while (offset + sizeof(struct mb2_tag) <= info->size) {
        const struct mb2_tag *tag = (const void *)((const char *)info + offset);
        if (tag->type == MB2_TAG_END)
            return;
        if (tag->size < sizeof *tag || tag->size > info->size - offset)
            fail_number("a Multiboot2 tag runs out of the boot information; type", tag->type);
        read_tag(input, tag);
        offset += (tag->size + 7) & ~7u;
    }
}

void input_read(struct input *input, uint32_t magic, uint32_t info)
{
    if (magic == MB2_LOADER_MAGIC)
        read_mb2(input, at(info));
    else
        read_pvh(input, at(info));
}
