/*
 * limine_protocol_test.c - Loam's requests as a bootloader sees them: bytes in a
 * loaded image, found by the rules of the protocol, against numbers typed from
 * the protocol's text and not from Loam's headers.
 *
 * With LOAM_KERNEL_ELF=FILE in the environment the same is asked of that kernel.
 */
#include "harness.h"

#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <loam/boot/limine.h>

static LOAM_LIMINE(requests);

/* ---- the protocol, independently ------------------------------------------ */

static const uint64_t start_marker[4] = { UINT64_C(0xf6b8f4b39de7d1ae),
                                          UINT64_C(0xfab91a6940fcb9cf),
                                          UINT64_C(0x785c6ed015d3e316),
                                          UINT64_C(0x181e920a7852b9d9) };
static const uint64_t end_marker[2] = { UINT64_C(0xadc0e0531bb10d03),
                                        UINT64_C(0x9572709f31764c62) };
static const uint64_t base_magic[2] = { UINT64_C(0xf9562b2d5c95a6c8),
                                        UINT64_C(0x6a7b384944536bdc) };
static const uint64_t common_magic[2] = { UINT64_C(0xc7b1dd30df4c8b88),
                                          UINT64_C(0x0a82e883a194f07b) };

#define AT(field) offsetof(struct loam_limine, field)

/* A request: what follows the common magic, word by word. */
static const struct known_request {
    const char *name;
    uint64_t id[2];
    uint64_t revision;
    size_t offset; /* in struct loam_limine */
    unsigned extra_count;
    uint64_t extra[3]; /* behind the response pointer */
} known[] = {
    /* clang-format off */
    { "bootloader info", { 0xf55038d8e2a1202f, 0x279426fcf5f59740 },
      0, AT(bootloader_info), 0, { 0, 0, 0 } },
    { "stack size", { 0x224ef0460a8e8926, 0xe1cb0fc25f46ea3d },
      0, AT(stack_size), 1, { 0x10000, 0, 0 } },
    { "higher half direct map", { 0x48dcf1cb8ad2b852, 0x63984e959a98244b },
      0, AT(hhdm), 0, { 0, 0, 0 } },
    { "memory map", { 0x67cf3d9d378a806f, 0xe304acdfc50c3c62 },
      0, AT(memmap), 0, { 0, 0, 0 } },
    { "paging mode: 5 levels wanted, 4 accepted", { 0x95c1a0edab0944cb, 0xa4e5cb3842f7488a },
      1, AT(paging_mode), 3, { 1, 1, 0 } },
    { "multiprocessor: x2APIC", { 0x95a67b819a1b857e, 0xa0b61b723b6a73e0 },
      0, AT(mp), 1, { 1, 0, 0 } },
    { "executable address", { 0x71ba76863cc55f63, 0xb2644a48c516a487 },
      0, AT(executable_address), 0, { 0, 0, 0 } },
    { "executable file", { 0xad97e90e83f1ed67, 0x31eb5d1c5ff23b69 },
      0, AT(executable_file), 0, { 0, 0, 0 } },
    { "executable command line", { 0x4b161536e598651e, 0xb390ad4a2f1f303a },
      0, AT(cmdline), 0, { 0, 0, 0 } },
    { "modules", { 0x3e7e279702be32af, 0xca1c4f3bd1280cee },
      0, AT(module), 2, { 0, 0, 0 } },
    { "framebuffer", { 0x9d5827dcd881dd75, 0xa3148604f6fab11b },
      0, AT(framebuffer), 0, { 0, 0, 0 } },
    { "RSDP", { 0xc5e77b6b397e7b43, 0x27637845accdcf3c },
      0, AT(rsdp), 0, { 0, 0, 0 } },
    /* clang-format on */
};
#define KNOWN (sizeof known / sizeof known[0])

#define NOT_FOUND SIZE_MAX
#define TAGS_MAX  8u
#define FOUND_MAX 64u

/* What a bootloader finds in an image; offsets in bytes from its start. */
struct scan {
    size_t from, to; /* between the last start marker and the first end marker */
    size_t start_count, end_count;
    size_t tag[TAGS_MAX];
    size_t tag_count;
    size_t request[FOUND_MAX]; /* of anything with the common magic */
    size_t request_count;
};

static uint64_t word_at(const unsigned char *image, size_t at)
{
    uint64_t word;
    memcpy(&word, image + at, sizeof word);
    return word;
}

static bool words_match(const unsigned char *image, size_t size, size_t at, const uint64_t *words,
                        size_t count)
{
    if (at + count * 8 > size)
        return false;
    for (size_t i = 0; i < count; i++)
        if (word_at(image, at + 8 * i) != words[i])
            return false;
    return true;
}

/* In steps of 8 bytes, as the protocol says. The image starts at such a step. */
static struct scan scan_image(const unsigned char *image, size_t size)
{
    struct scan scan;
    memset(&scan, 0, sizeof scan);
    scan.to = size;
    for (size_t at = 0; at < size; at += 8) {
        if (words_match(image, size, at, start_marker, 4)) {
            scan.from = at + 32;
            scan.start_count++;
        }
        if (words_match(image, size, at, end_marker, 2) && scan.end_count++ == 0)
            scan.to = at;
    }
    for (size_t at = scan.from; at < scan.to; at += 8) {
        if (words_match(image, scan.to, at, base_magic, 2) && scan.tag_count < TAGS_MAX)
            scan.tag[scan.tag_count++] = at;
        if (words_match(image, scan.to, at, common_magic, 2) && scan.request_count < FOUND_MAX)
            scan.request[scan.request_count++] = at;
    }
    return scan;
}

/* Each known request once, nothing else, with the words it should have. */
static void check_requests(const unsigned char *image, const struct scan *scan)
{
    assert_int_equal(scan->start_count, 1);
    assert_int_equal(scan->end_count, 1);
    assert_int_equal(scan->tag_count, 1);
    assert_int_equal(word_at(image, scan->tag[0] + 16), 6);
    assert_int_equal(scan->request_count, KNOWN);
    for (size_t k = 0; k < KNOWN; k++) {
        size_t at = NOT_FOUND;
        for (size_t i = 0; i < scan->request_count; i++) {
            if (word_at(image, scan->request[i] + 16) != known[k].id[0] ||
                word_at(image, scan->request[i] + 24) != known[k].id[1])
                continue;
            if (at != NOT_FOUND)
                fail_msg("%s: requested twice", known[k].name);
            at = scan->request[i];
        }
        if (at == NOT_FOUND)
            fail_msg("%s: not requested", known[k].name);
        assert_int_equal(word_at(image, at + 32), known[k].revision);
        assert_int_equal(word_at(image, at + 40), 0); /* no response yet */
        for (unsigned i = 0; i < known[k].extra_count; i++)
            assert_int_equal(word_at(image, at + 48 + 8 * i), known[k].extra[i]);
    }
}

/* ---- the object ----------------------------------------------------------- */

/*
 *   [start marker][base revision 6][request]...[request][end marker]
 */
static void limine_requests_are_found_by_the_rules_of_the_protocol(void **state)
{
    unsigned char image[sizeof requests];
    (void)state;
    assert_int_equal((uintptr_t)&requests % 8, 0);
    assert_int_equal(sizeof requests % 8, 0);
    memcpy(image, &requests, sizeof image);
    const struct scan scan = scan_image(image, sizeof image);
    check_requests(image, &scan);
    assert_int_equal(scan.from, 32);
    assert_int_equal(scan.to, sizeof image - 16);
    assert_int_equal(scan.tag[0], offsetof(struct loam_limine, base_revision));
}

static void limine_each_request_lies_where_its_field_is(void **state)
{
    unsigned char image[sizeof requests];
    (void)state;
    memcpy(image, &requests, sizeof image);
    for (size_t k = 0; k < KNOWN; k++) {
        assert_true(words_match(image, sizeof image, known[k].offset, common_magic, 2));
        assert_true(words_match(image, sizeof image, known[k].offset + 16, known[k].id, 2));
    }
}

/* The scan itself must notice what a bootloader would refuse or miss. */
static void limine_scan_notices_duplicates_and_what_lies_outside_the_markers(void **state)
{
    unsigned char image[3 * sizeof requests];
    struct scan scan;
    (void)state;
    memset(image, 0, sizeof image);
    memcpy(image + 8, &requests, sizeof requests);
    memcpy(image + 2 * sizeof requests, &requests.hhdm, sizeof requests.hhdm);
    scan = scan_image(image, sizeof image);
    assert_int_equal(scan.request_count, KNOWN); /* the late one is behind the end marker */
    memcpy(image + 8 + offsetof(struct loam_limine, rsdp), &requests.hhdm, sizeof requests.hhdm);
    scan = scan_image(image, sizeof image);
    unsigned hhdms = 0;
    for (size_t i = 0; i < scan.request_count; i++)
        hhdms += word_at(image, scan.request[i] + 16) == known[2].id[0];
    assert_int_equal(hhdms, 2);
    memset(image, 0, sizeof image);
    memcpy(image + 4, &requests, sizeof requests); /* off the 8-byte steps: invisible */
    scan = scan_image(image, sizeof image);
    assert_int_equal(scan.start_count + scan.end_count + scan.tag_count + scan.request_count, 0);
}

/* ---- layout --------------------------------------------------------------- */

#define FIELD(type, field, offset, size)                                     \
    {                                                                        \
#type "." #field, offsetof(struct loam_limine_##type, field),        \
            sizeof(((struct loam_limine_##type *)NULL)->field), offset, size \
    }

/* Offset and size of every field, from the protocol's text. */
static const struct {
    const char *name;
    size_t offset, size, want_offset, want_size;
} fields[] = {
    FIELD(memmap_entry, base, 0, 8),
    FIELD(memmap_entry, length, 8, 8),
    FIELD(memmap_entry, type, 16, 8),
    FIELD(memmap_response, revision, 0, 8),
    FIELD(memmap_response, entry_count, 8, 8),
    FIELD(memmap_response, entries, 16, 8),
    FIELD(bootloader_info_response, revision, 0, 8),
    FIELD(bootloader_info_response, name, 8, 8),
    FIELD(bootloader_info_response, version, 16, 8),
    FIELD(stack_size_response, revision, 0, 8),
    FIELD(hhdm_response, revision, 0, 8),
    FIELD(hhdm_response, offset, 8, 8),
    FIELD(paging_mode_response, revision, 0, 8),
    FIELD(paging_mode_response, mode, 8, 8),
    FIELD(executable_address_response, revision, 0, 8),
    FIELD(executable_address_response, physical_base, 8, 8),
    FIELD(executable_address_response, virtual_base, 16, 8),
    FIELD(cmdline_response, revision, 0, 8),
    FIELD(cmdline_response, cmdline, 8, 8),
    FIELD(rsdp_response, revision, 0, 8),
    FIELD(rsdp_response, address, 8, 8),
    FIELD(executable_file_response, revision, 0, 8),
    FIELD(executable_file_response, file, 8, 8),
    FIELD(module_response, revision, 0, 8),
    FIELD(module_response, module_count, 8, 8),
    FIELD(module_response, modules, 16, 8),
    FIELD(framebuffer_response, revision, 0, 8),
    FIELD(framebuffer_response, framebuffer_count, 8, 8),
    FIELD(framebuffer_response, framebuffers, 16, 8),
    FIELD(mp_response, revision, 0, 8),
    FIELD(mp_response, flags, 8, 4),
    FIELD(mp_response, bsp_lapic_id, 12, 4),
    FIELD(mp_response, cpu_count, 16, 8),
    FIELD(mp_response, cpus, 24, 8),
    FIELD(mp_info, processor_id, 0, 4),
    FIELD(mp_info, lapic_id, 4, 4),
    FIELD(mp_info, reserved, 8, 8),
    FIELD(mp_info, goto_address, 16, 8),
    FIELD(mp_info, extra_argument, 24, 8),
    FIELD(uuid, a, 0, 4),
    FIELD(uuid, b, 4, 2),
    FIELD(uuid, c, 6, 2),
    FIELD(uuid, d, 8, 8),
    FIELD(file, revision, 0, 8),
    FIELD(file, address, 8, 8),
    FIELD(file, size, 16, 8),
    FIELD(file, path, 24, 8),
    FIELD(file, string, 32, 8),
    FIELD(file, media_type, 40, 4),
    FIELD(file, unused, 44, 4),
    FIELD(file, tftp_ip, 48, 4),
    FIELD(file, tftp_port, 52, 4),
    FIELD(file, partition_index, 56, 4),
    FIELD(file, mbr_disk_id, 60, 4),
    FIELD(file, gpt_disk_uuid, 64, 16),
    FIELD(file, gpt_part_uuid, 80, 16),
    FIELD(file, part_uuid, 96, 16),
    FIELD(framebuffer, address, 0, 8),
    FIELD(framebuffer, width, 8, 8),
    FIELD(framebuffer, height, 16, 8),
    FIELD(framebuffer, pitch, 24, 8),
    FIELD(framebuffer, bpp, 32, 2),
    FIELD(framebuffer, memory_model, 34, 1),
    FIELD(framebuffer, red_mask_size, 35, 1),
    FIELD(framebuffer, red_mask_shift, 36, 1),
    FIELD(framebuffer, green_mask_size, 37, 1),
    FIELD(framebuffer, green_mask_shift, 38, 1),
    FIELD(framebuffer, blue_mask_size, 39, 1),
    FIELD(framebuffer, blue_mask_shift, 40, 1),
    FIELD(framebuffer, unused, 41, 7),
    FIELD(framebuffer, edid_size, 48, 8),
    FIELD(framebuffer, edid, 56, 8),
    FIELD(framebuffer, mode_count, 64, 8),
    FIELD(framebuffer, modes, 72, 8),
    FIELD(stack_size_request, id, 0, 32),
    FIELD(stack_size_request, revision, 32, 8),
    FIELD(stack_size_request, response, 40, 8),
    FIELD(stack_size_request, stack_size, 48, 8),
    FIELD(paging_mode_request, response, 40, 8),
    FIELD(paging_mode_request, mode, 48, 8),
    FIELD(paging_mode_request, max_mode, 56, 8),
    FIELD(paging_mode_request, min_mode, 64, 8),
    FIELD(mp_request, response, 40, 8),
    FIELD(mp_request, flags, 48, 8),
    FIELD(module_request, response, 40, 8),
    FIELD(module_request, internal_module_count, 48, 8),
    FIELD(module_request, internal_modules, 56, 8),
    FIELD(bootloader_info_request, response, 40, 8),
    FIELD(hhdm_request, response, 40, 8),
    FIELD(memmap_request, response, 40, 8),
    FIELD(framebuffer_request, response, 40, 8),
    FIELD(rsdp_request, response, 40, 8),
    FIELD(executable_address_request, response, 40, 8),
    FIELD(executable_file_request, response, 40, 8),
    FIELD(executable_cmdline_request, response, 40, 8),
};

static void limine_fields_lie_where_the_protocol_puts_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].offset != fields[i].want_offset || fields[i].size != fields[i].want_size)
            fail_msg("%s: at %zu, %zu bytes; the protocol: at %zu, %zu bytes", fields[i].name,
                     fields[i].offset, fields[i].size, fields[i].want_offset, fields[i].want_size);
    assert_int_equal(sizeof(struct loam_limine_memmap_entry), 24);
    assert_int_equal(sizeof(struct loam_limine_mp_info), 32);
    assert_int_equal(sizeof(struct loam_limine_file), 112);
}

static void limine_constants_are_those_of_the_protocol(void **state)
{
    (void)state;
    assert_int_equal(LOAM_LIMINE_MEMMAP_USABLE, 0);
    assert_int_equal(LOAM_LIMINE_MEMMAP_RESERVED, 1);
    assert_int_equal(LOAM_LIMINE_MEMMAP_ACPI_RECLAIMABLE, 2);
    assert_int_equal(LOAM_LIMINE_MEMMAP_ACPI_NVS, 3);
    assert_int_equal(LOAM_LIMINE_MEMMAP_BAD_MEMORY, 4);
    assert_int_equal(LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE, 5);
    assert_int_equal(LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES, 6);
    assert_int_equal(LOAM_LIMINE_MEMMAP_FRAMEBUFFER, 7);
    assert_int_equal(LOAM_LIMINE_MEMMAP_RESERVED_MAPPED, 8);
    assert_int_equal(LOAM_LIMINE_PAGING_4_LEVEL, 0);
    assert_int_equal(LOAM_LIMINE_PAGING_5_LEVEL, 1);
    assert_int_equal(LOAM_LIMINE_MP_X2APIC, 1);
    assert_int_equal(LOAM_LIMINE_FRAMEBUFFER_RGB, 1);
    assert_int_equal(LOAM_LIMINE_BASE_MAGIC_0, base_magic[0]);
    assert_int_equal(LOAM_LIMINE_BASE_MAGIC_1, base_magic[1]);
}

/* ---- a kernel ------------------------------------------------------------- */

static unsigned char *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        fail_msg("%s: cannot be opened", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

struct loaded {
    unsigned char *image; /* from the lowest address of a segment, zeroed between */
    uint64_t base;
    size_t size;
    const Elf64_Phdr *segment;
    size_t segment_count;
};

/* What a bootloader does with a kernel that is not relocated. */
static struct loaded load_segments(const unsigned char *elf, size_t size)
{
    const Elf64_Ehdr *head = (const Elf64_Ehdr *)(const void *)elf;
    struct loaded out = { NULL, UINT64_MAX, 0, NULL, 0 };
    uint64_t end = 0;
    assert_true(size > sizeof *head);
    assert_memory_equal(elf, ELFMAG, SELFMAG);
    assert_int_equal(head->e_ident[EI_CLASS], ELFCLASS64);
    assert_int_equal(head->e_machine, EM_X86_64);
    assert_true(head->e_phoff + head->e_phnum * sizeof(Elf64_Phdr) <= size);
    out.segment = (const Elf64_Phdr *)(const void *)(elf + head->e_phoff);
    out.segment_count = head->e_phnum;
    for (size_t i = 0; i < out.segment_count; i++) {
        const Elf64_Phdr *s = &out.segment[i];
        if (s->p_type != PT_LOAD || s->p_memsz == 0)
            continue;
        out.base = s->p_vaddr < out.base ? s->p_vaddr : out.base;
        end = s->p_vaddr + s->p_memsz > end ? s->p_vaddr + s->p_memsz : end;
    }
    assert_true(end > out.base && end - out.base < (64u << 20));
    out.size = (size_t)(end - out.base);
    out.image = calloc(1, out.size);
    assert_non_null(out.image);
    for (size_t i = 0; i < out.segment_count; i++) {
        const Elf64_Phdr *s = &out.segment[i];
        if (s->p_type != PT_LOAD || s->p_memsz == 0)
            continue;
        assert_true(s->p_offset + s->p_filesz <= size && s->p_filesz <= s->p_memsz);
        memcpy(out.image + (s->p_vaddr - out.base), elf + s->p_offset, s->p_filesz);
    }
    return out;
}

/* Is the range inside one writable segment? The bootloader writes responses. */
static bool is_writable(const struct loaded *kernel, uint64_t start, uint64_t end)
{
    for (size_t i = 0; i < kernel->segment_count; i++) {
        const Elf64_Phdr *s = &kernel->segment[i];
        if (s->p_type == PT_LOAD && (s->p_flags & PF_W) != 0 && start >= s->p_vaddr &&
            end <= s->p_vaddr + s->p_memsz)
            return true;
    }
    return false;
}

/*
 *   image  [text r-x)[rodata r--)[data rw-  [requests)        )
 */
static void limine_kernel_makes_its_requests_in_a_writable_segment(void **state)
{
    size_t size;
    unsigned char *elf = read_whole(getenv("LOAM_KERNEL_ELF"), &size);
    (void)state;
    struct loaded kernel = load_segments(elf, size);
    assert_int_equal(kernel.base % 8, 0);
    assert_true(kernel.base >= UINT64_C(0xffffffff80000000));
    const struct scan scan = scan_image(kernel.image, kernel.size);
    check_requests(kernel.image, &scan);
    assert_true(is_writable(&kernel, kernel.base + scan.from - 32, kernel.base + scan.to + 16));
    free(kernel.image);
    free(elf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limine_requests_are_found_by_the_rules_of_the_protocol),
        cmocka_unit_test(limine_each_request_lies_where_its_field_is),
        cmocka_unit_test(limine_scan_notices_duplicates_and_what_lies_outside_the_markers),
        cmocka_unit_test(limine_fields_lie_where_the_protocol_puts_them),
        cmocka_unit_test(limine_constants_are_those_of_the_protocol),
        cmocka_unit_test(limine_kernel_makes_its_requests_in_a_writable_segment),
    };
    const size_t count = sizeof tests / sizeof tests[0];
    /* The last one needs a kernel; without one it is not run at all. */
    return harness_run("limine_protocol", tests,
                       getenv("LOAM_KERNEL_ELF") != NULL ? count : count - 1);
}
