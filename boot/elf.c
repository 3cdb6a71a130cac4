/*
 * elf.c - load the kernel: an ELF64 executable for x86-64 at -2 GiB or above.
 *
 *   file      [hdr][text    ][rodata ][data]
 *   image     [text    .][rodata .][data][bss    ]   contiguous, whole pages
 *
 * ET_EXEC loads where it asks to. So does ET_DYN, or it slides to -2 GiB if it is
 * linked low; its relative relocations are applied. Every number from the file is checked
 * before use: a bad file ends in a message. Source: System V ABI, chapters 4 and 5,
 * and its x86-64 supplement.
 */
#include "shim.h"

#define ELF_CLASS_64    2u
#define ELF_DATA_LITTLE 1u
#define ELF_TYPE_EXEC   2u
#define ELF_TYPE_DYN    3u
#define ELF_MACHINE_X64 62u
#define SEGMENT_LOAD    1u
#define SEGMENT_DYNAMIC 2u
#define SEGMENT_EXECUTE 1u
#define SEGMENT_WRITE   2u
#define DYNAMIC_RELA    7u
#define DYNAMIC_RELASZ  8u
#define RELOC_RELATIVE  8u
#define IMAGE_MAX       (UINT64_C(1) << 30)
#define LARGE_PAGE      (UINT64_C(2) << 20)

struct elf_header {
    uint8_t magic[4];
    uint8_t class, data, version, abi;
    uint8_t padding[8];
    uint16_t type, machine;
    uint32_t version2;
    uint64_t entry, segments, sections;
    uint32_t flags;
    uint16_t header_size, segment_size, segment_count;
    uint16_t section_size, section_count, section_names;
};

struct elf_segment {
    uint32_t type, flags;
    uint64_t offset, virt, phys, file_size, memory_size, align;
};

struct elf_dynamic {
    uint64_t tag, value;
};

struct elf_rela {
    uint64_t offset, info, addend;
};

struct image {
    const struct boot_file *file;
    const struct elf_header *header;
    const struct elf_segment *segment;
    uint64_t slide;
    uint64_t align; /* of the physical base */
};

static void open_image(struct image *image, const struct boot_file *file)
{
    static const uint8_t magic[4] = { 0x7f, 'E', 'L', 'F' };

    *image = (struct image){ .file = file, .align = PAGE_SIZE };
    if (file->size < sizeof *image->header)
        fail_number("kernel: too short for an ELF header; bytes:", file->size);
    const struct elf_header *header = at(file->base);
    if (memcmp(header->magic, magic, sizeof magic) != 0)
        fail("kernel: not an ELF file");
    if (header->class != ELF_CLASS_64 || header->data != ELF_DATA_LITTLE)
        fail("kernel: not a 64-bit little-endian ELF file");
    if (header->machine != ELF_MACHINE_X64)
        fail_number("kernel: not for x86-64; ELF machine", header->machine);
    if (header->type != ELF_TYPE_EXEC && header->type != ELF_TYPE_DYN)
        fail_number("kernel: not executable; ELF type", header->type);
    if (header->segment_size != sizeof(struct elf_segment))
        fail_number("kernel: wrong program header size", header->segment_size);
    const uint64_t table_size = (uint64_t)header->segment_count * sizeof(struct elf_segment);
    if (header->segments > file->size || table_size > file->size - header->segments ||
        header->segments % 8 != 0)
        fail("kernel: the program headers lie outside the file");
    image->header = header;
    image->segment = at(file->base + header->segments);
    for (unsigned i = 0; i < header->segment_count; i++) {
        if (header->type == ELF_TYPE_DYN && image->segment[i].type == SEGMENT_LOAD &&
            image->segment[i].virt < KERNEL_LOWEST)
            image->slide = KERNEL_LOWEST;
    }
}

static void check_segment(const struct image *image, const struct elf_segment *s)
{
    const uint64_t virt = s->virt + image->slide;

    if (s->file_size > s->memory_size || s->offset > image->file->size ||
        s->file_size > image->file->size - s->offset)
        fail_number("kernel: the file is shorter than its segment at", virt);
    if (virt < KERNEL_LOWEST)
        fail_number("kernel: a segment lies below -2 GiB, at", virt);
    if (s->memory_size > IMAGE_MAX || virt > page_floor(UINT64_MAX) - s->memory_size)
        fail_number("kernel: a segment is too large, at", virt);
}

/* Where the image lies and what its segments are. */
static void measure(struct image *image, struct kernel *kernel)
{
    uint64_t end = 0;

    kernel->virt = UINT64_MAX;
    for (unsigned i = 0; i < image->header->segment_count; i++) {
        const struct elf_segment *s = &image->segment[i];
        if (s->type != SEGMENT_LOAD || s->memory_size == 0)
            continue;
        check_segment(image, s);
        if (kernel->segment_count == SEGMENTS_MAX)
            fail("kernel: too many segments");
        const uint64_t virt = page_floor(s->virt + image->slide);
        const uint64_t stop = page_ceil(s->virt + image->slide + s->memory_size);
        kernel->segment[kernel->segment_count++] = (struct segment){
            virt,
            stop - virt,
            (s->flags & SEGMENT_WRITE) != 0,
            (s->flags & SEGMENT_EXECUTE) != 0,
        };
        kernel->virt = virt < kernel->virt ? virt : kernel->virt;
        end = stop > end ? stop : end;
        if (s->align > image->align)
            image->align = s->align < LARGE_PAGE ? s->align : LARGE_PAGE;
    }
    if (kernel->segment_count == 0)
        fail("kernel: nothing to load");
    if ((image->align & (image->align - 1)) != 0)
        fail_number("kernel: a segment's alignment is not a power of two:", image->align);
    kernel->size = end - kernel->virt;
    if (kernel->size > IMAGE_MAX)
        fail_number("kernel: the image is too large; bytes:", kernel->size);
}

static void check_overlaps(const struct kernel *kernel)
{
    for (unsigned i = 0; i < kernel->segment_count; i++) {
        for (unsigned j = 0; j < i; j++) {
            const struct segment *a = &kernel->segment[i];
            const struct segment *b = &kernel->segment[j];
            if (a->virt < b->virt + b->size && b->virt < a->virt + a->size)
                fail_number("kernel: two segments share the page at", a->virt);
        }
    }
}

static void check_entry(const struct kernel *kernel)
{
    for (unsigned i = 0; i < kernel->segment_count; i++) {
        const struct segment *s = &kernel->segment[i];
        if (s->execute && kernel->entry - s->virt < s->size)
            return;
    }
    fail_number("kernel: the entry point is in no executable segment:", kernel->entry);
}

/* The image's bytes [virt, virt + size), or fail. */
static void *inside(const struct kernel *kernel, uint64_t virt, uint64_t size)
{
    const uint64_t offset = virt - kernel->virt;

    if (offset > kernel->size || size > kernel->size - offset)
        fail_number("kernel: relocation data outside the image, at", virt);
    return at(kernel->phys + offset);
}

static void relocate(const struct image *image, const struct kernel *kernel,
                     const struct elf_segment *dynamic)
{
    uint64_t table = 0;
    uint64_t bytes = 0;

    for (uint64_t i = 0; i < dynamic->memory_size / sizeof(struct elf_dynamic); i++) {
        const uint64_t virt = dynamic->virt + image->slide + i * sizeof(struct elf_dynamic);
        const struct elf_dynamic *entry = inside(kernel, virt, sizeof *entry);
        if (entry->tag == DYNAMIC_RELA)
            table = entry->value + image->slide;
        if (entry->tag == DYNAMIC_RELASZ)
            bytes = entry->value;
    }
    for (uint64_t i = 0; i < bytes / sizeof(struct elf_rela); i++) {
        const struct elf_rela *rela =
            inside(kernel, table + i * sizeof(struct elf_rela), sizeof *rela);
        if (rela->info != RELOC_RELATIVE)
            fail_number("kernel: a relocation that is not relative:", rela->info);
        const uint64_t value = rela->addend + image->slide;
        memcpy(inside(kernel, rela->offset + image->slide, sizeof value), &value, sizeof value);
    }
}

void elf_load(struct kernel *kernel, const struct boot_file *file)
{
    struct image image;

    open_image(&image, file);
    measure(&image, kernel);
    check_overlaps(kernel);
    kernel->entry = image.header->entry + image.slide;
    check_entry(kernel);

    kernel->phys =
        map_carve(kernel->size, image.align, REACH, LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES);
    for (unsigned i = 0; i < image.header->segment_count; i++) {
        const struct elf_segment *s = &image.segment[i];
        if (s->type == SEGMENT_LOAD && s->memory_size > 0)
            memcpy(at(kernel->phys + (s->virt + image.slide - kernel->virt)),
                   at(file->base + s->offset), s->file_size);
    }
    for (unsigned i = 0; i < image.header->segment_count; i++) {
        if (image.header->type == ELF_TYPE_DYN && image.segment[i].type == SEGMENT_DYNAMIC)
            relocate(&image, kernel, &image.segment[i]);
    }
}
