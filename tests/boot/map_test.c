/*
 * map_test.c - boot/map.c against a model that knows the type of every 256 bytes.
 *
 * Random firmware maps, files and a limit go in; the entries must say what the
 * model says, be sorted, disjoint and merged; HHDM runs must cover exactly the pages
 * with mapped bytes; and carving must take the highest fit and zero it. Runs on the
 * host: the window is real memory at its own address.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../../boot/shim.h"

#define WINDOW UINT64_C(0x10000000)
#define PAGES  64u
#define UNIT   256u
#define UNITS  (PAGES * 16u)
#define ROUNDS 20000u
#define HOLE   99u

/* The shim's image, as the linker script would place it: pages 8 and 9. */
__asm__(".globl shim_start, shim_end\n"
        ".set shim_start, 0x10008000\n"
        ".set shim_end, 0x10009800\n");

static unsigned model[UNITS];
static uint64_t seed = 1;
static unsigned round_number;

_Noreturn void fail(const char *why)
{
    printf("round %u: %s\n", round_number, why);
    exit(1);
}

_Noreturn void fail_number(const char *why, uint64_t value)
{
    printf("round %u: %s %#llx\n", round_number, why, (unsigned long long)value);
    exit(1);
}

static unsigned random_below(unsigned limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((seed >> 33) % limit);
}

static void paint(unsigned first, unsigned end, unsigned type)
{
    for (unsigned u = first; u < end && u < UNITS; u++)
        model[u] = type;
}

static bool needs_pages(unsigned type)
{
    return type == LOAM_LIMINE_MEMMAP_USABLE || type == LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE;
}

/* A firmware entry into the input; the painting follows in map_build()'s order. */
static void make_input(struct input *input)
{
    input->firmware_count = 1 + random_below(12);
    for (unsigned i = 0; i < input->firmware_count; i++) {
        const unsigned first = random_below(UNITS);
        const unsigned count = random_below(UNITS - first + 1);
        const unsigned type = random_below(2) == 0 ? 0 : random_below(6);
        input->firmware[i] = (struct loam_limine_memmap_entry){ WINDOW + (uint64_t)first * UNIT,
                                                                (uint64_t)count * UNIT, type };
    }
    input->file_count = random_below(3);
    for (unsigned i = 0; i < input->file_count; i++) {
        input->file[i].base = WINDOW + random_below(PAGES - 4) * PAGE_SIZE;
        input->file[i].size = random_below(3 * PAGE_SIZE);
    }
}

static void paint_firmware(const struct input *input, bool usable)
{
    for (unsigned i = 0; i < input->firmware_count; i++) {
        const struct loam_limine_memmap_entry *e = &input->firmware[i];
        unsigned first = (unsigned)((e->base - WINDOW) / UNIT);
        unsigned end = first + (unsigned)(e->length / UNIT);
        if ((e->type == LOAM_LIMINE_MEMMAP_USABLE) != usable)
            continue;
        if (needs_pages((unsigned)e->type)) {
            first = (first + 15) / 16 * 16;
            end = end / 16 * 16;
        }
        paint(first, end, (unsigned)e->type);
    }
}

static void make_model(const struct input *input, uint64_t limit)
{
    paint(0, UNITS, HOLE);
    paint_firmware(input, true);
    paint_firmware(input, false);
    for (unsigned page = 0; page < PAGES; page++) {
        bool uniform = true;
        for (unsigned u = 1; u < 16; u++)
            uniform &= model[page * 16 + u] == model[page * 16];
        for (unsigned u = 0; u < 16 && !uniform; u++) {
            if (needs_pages(model[page * 16 + u]))
                model[page * 16 + u] = LOAM_LIMINE_MEMMAP_RESERVED;
        }
    }
    paint(8 * 16, 10 * 16, LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE);
    for (unsigned i = 0; i < input->file_count; i++) {
        const unsigned first = (unsigned)((input->file[i].base - WINDOW) / UNIT);
        const unsigned pages = (unsigned)(page_ceil(input->file[i].size) / PAGE_SIZE);
        paint(first, first + pages * 16, LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES);
    }
    for (unsigned u = 0; u < UNITS; u++) {
        if (WINDOW + (uint64_t)u * UNIT >= limit && model[u] == LOAM_LIMINE_MEMMAP_USABLE)
            model[u] = LOAM_LIMINE_MEMMAP_RESERVED;
    }
}

static void compare_entries(void)
{
    static unsigned seen[UNITS];
    uint64_t end = 0;
    uint64_t type = HOLE;

    for (unsigned u = 0; u < UNITS; u++)
        seen[u] = HOLE;
    for (size_t i = 0; i < map_count(); i++) {
        const struct loam_limine_memmap_entry *e = map_entry(i);
        if (e->base < end || e->length == 0 || (e->base == end && e->type == type && i > 0))
            fail_number("not sorted, disjoint and merged at", e->base);
        end = e->base + e->length;
        type = e->type;
        for (uint64_t at = e->base; at < end; at += UNIT) {
            if (at >= WINDOW)
                seen[(at - WINDOW) / UNIT] = (unsigned)type;
        }
    }
    for (unsigned u = 0; u < UNITS; u++) {
        if (seen[u] != model[u])
            fail_number("wrong type at", WINDOW + (uint64_t)u * UNIT);
    }
}

static bool is_mapped(unsigned type, unsigned revision)
{
    return type == LOAM_LIMINE_MEMMAP_USABLE || type == LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE ||
           type == LOAM_LIMINE_MEMMAP_EXECUTABLE_AND_MODULES ||
           (revision >= 4 &&
            (type == LOAM_LIMINE_MEMMAP_ACPI_RECLAIMABLE || type == LOAM_LIMINE_MEMMAP_ACPI_NVS));
}

static void compare_runs(unsigned revision)
{
    static bool covered[PAGES];
    struct map_run run = { 0, WINDOW, MAP_UNMAPPED };

    for (unsigned page = 0; page < PAGES; page++)
        covered[page] = false;
    while (map_next_run(run.end, revision, &run)) {
        for (uint64_t at = run.base; at < run.end; at += PAGE_SIZE) {
            if (covered[(at - WINDOW) / PAGE_SIZE])
                fail_number("mapped twice:", at);
            covered[(at - WINDOW) / PAGE_SIZE] = true;
        }
    }
    for (unsigned page = 0; page < PAGES; page++) {
        bool wanted = false;
        for (unsigned u = 0; u < 16; u++)
            wanted |= is_mapped(model[page * 16 + u], revision);
        if (wanted != covered[page])
            fail_number("wrong coverage at", WINDOW + page * PAGE_SIZE);
    }
}

/* The first page of the highest aligned run of @p pages usable pages, or PAGES. */
static unsigned highest_fit(unsigned pages, unsigned align)
{
    for (unsigned first = PAGES - pages + 1; first-- > 0;) {
        bool free = first % align == 0;
        for (unsigned u = first * 16; u < (first + pages) * 16; u++)
            free &= model[u] == LOAM_LIMINE_MEMMAP_USABLE;
        if (free)
            return first;
    }
    return PAGES;
}

static void carve_some(void)
{
    for (unsigned i = 0; i < 4; i++) {
        const unsigned pages = 1 + random_below(5);
        const unsigned align = 1u << random_below(3);
        const unsigned first = highest_fit(pages, align);
        if (first == PAGES)
            return;
        const uint64_t size = pages * PAGE_SIZE - random_below(100);
        const uint64_t got = map_carve(size, align * PAGE_SIZE, REACH, 5);
        if (got != WINDOW + first * PAGE_SIZE)
            fail_number("carved", got);
        const unsigned char *bytes = at(got);
        for (unsigned k = 0; k < pages * PAGE_SIZE; k++) {
            if (bytes[k] != 0)
                fail_number("not zeroed:", got + k);
        }
        paint(first * 16, (first + pages) * 16, 5);
        compare_entries();
    }
}

int main(void)
{
    static struct input input;
    static struct options options;
    void *window = mmap(at(WINDOW), PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (window != at(WINDOW))
        fail("no memory at the window's address");

    for (round_number = 0; round_number < ROUNDS; round_number++) {
        __builtin_memset(window, 0xaa, PAGES * PAGE_SIZE);
        make_input(&input);
        options.limit =
            random_below(2) == 0 ? PHYS_LIMIT : WINDOW + random_below(PAGES) * PAGE_SIZE;
        map_build(&input, &options);
        make_model(&input, options.limit);
        compare_entries();
        compare_runs(3);
        compare_runs(6);
        carve_some();
    }
    printf("ok map-agrees-with-the-model-in-%u-rounds\n", ROUNDS);
    return 0;
}
