/*
 * paging.c - the page tables that the kernel starts on.
 *
 *   HHDM base + p    p, for every p the base revision maps; read, write, no execute
 *                    (Limine itself maps it executable too)
 *   kernel image     read-execute, read-only or read-write, as its segments say
 *   trampoline page  identically, read-execute: CPUs arrive and park there
 *
 * A run of like pages is mapped with the largest pages that fit in it, so no page
 * ever covers a hole or memory of another type.
 */
#include "cpu.h"
#include "shim.h"

#define PTE_PRESENT  UINT64_C(0x1)
#define PTE_WRITE    UINT64_C(0x2)
#define PTE_PWT      UINT64_C(0x8)
#define PTE_PCD      UINT64_C(0x10)
#define PTE_LARGE    UINT64_C(0x80) /* in levels 2 and 3 */
#define PTE_PAT      UINT64_C(0x80) /* in level 1 */
#define PTE_PAT_BIG  UINT64_C(0x1000)
#define PTE_NX       (UINT64_C(1) << 63)
#define PTE_ADDRESS  UINT64_C(0x000ffffffffff000)
#define TABLE_LENGTH 512u

#define HHDM_4_LEVEL UINT64_C(0xffff800000000000)
#define HHDM_5_LEVEL UINT64_C(0xff00000000000000)

static uint64_t new_table(void)
{
    return map_carve(PAGE_SIZE, PAGE_SIZE, REACH, LOAM_LIMINE_MEMMAP_BOOTLOADER_RECLAIMABLE);
}

bool cpu_has_la57(void)
{
    return cpu_id(0, 0).eax >= 7 && (cpu_id(7, 0).ecx >> 16 & 1) != 0;
}

void space_init(struct space *space, unsigned levels)
{
    const struct cpuid extended = cpu_id(0x80000001, 0);

    space->root = new_table();
    space->levels = levels;
    space->hhdm = levels == 5 ? HHDM_5_LEVEL : HHDM_4_LEVEL;
    space->has_nx = (extended.edx >> 20 & 1) != 0;
    space->has_gigabyte = (extended.edx >> 26 & 1) != 0;
    space->has_pat = (cpu_id(1, 0).edx >> 16 & 1) != 0;
}

/* Bytes that one entry of @p level covers. */
static uint64_t span_of(unsigned level)
{
    return PAGE_SIZE << (9 * (level - 1));
}

static uint64_t leaf_bits(const struct space *space, unsigned level, unsigned how)
{
    uint64_t bits = PTE_PRESENT;

    if (level > 1)
        bits |= PTE_LARGE;
    if ((how & SPACE_WRITE) != 0)
        bits |= PTE_WRITE;
    if ((how & SPACE_EXECUTE) == 0 && space->has_nx)
        bits |= PTE_NX;
    if ((how & SPACE_WC) != 0 && space->has_pat) /* PAT entry 5 */
        bits |= PTE_PWT | (level > 1 ? PTE_PAT_BIG : PTE_PAT);
    else if ((how & SPACE_WC) != 0)
        bits |= PTE_PCD;
    return bits;
}

static uint64_t *entry_in(uint64_t table, uint64_t virt, unsigned level)
{
    return (uint64_t *)at(table) + (virt / span_of(level)) % TABLE_LENGTH;
}

/* The entry for @p virt in the table of @p level, making the tables above it. */
static uint64_t *entry_of(const struct space *space, uint64_t virt, unsigned level)
{
    uint64_t table = space->root;

    for (unsigned above = space->levels; above > level; above--) {
        uint64_t *entry = entry_in(table, virt, above);
        if (*entry == 0)
            *entry = new_table() | PTE_PRESENT | PTE_WRITE;
        if ((*entry & PTE_LARGE) != 0)
            fail_number("two mappings meet at", virt);
        table = *entry & PTE_ADDRESS;
    }
    return entry_in(table, virt, level);
}

static unsigned leaf_level(const struct space *space, uint64_t virt, uint64_t phys, uint64_t size)
{
    unsigned level = space->has_gigabyte ? 3 : 2;

    while (level > 1 && (((virt | phys) & (span_of(level) - 1)) != 0 || size < span_of(level)))
        level--;
    return level;
}

void space_map(struct space *space, uint64_t virt, uint64_t phys, uint64_t size, unsigned how)
{
    while (size > 0) {
        const unsigned level = leaf_level(space, virt, phys, size);
        uint64_t *entry = entry_of(space, virt, level);
        if (*entry != 0)
            fail_number("two mappings meet at", virt);
        *entry = phys | leaf_bits(space, level, how);
        virt += span_of(level);
        phys += span_of(level);
        size -= span_of(level);
    }
}

void space_map_kernel(struct space *space, const struct kernel *kernel)
{
    for (unsigned i = 0; i < kernel->segment_count; i++) {
        const struct segment *s = &kernel->segment[i];
        space_map(space, s->virt, kernel->phys + (s->virt - kernel->virt), s->size,
                  (s->write ? SPACE_WRITE : 0) | (s->execute ? SPACE_EXECUTE : 0));
    }
}

void space_map_hhdm(struct space *space, unsigned revision)
{
    struct map_run run = { 0, 0, MAP_UNMAPPED };

    while (map_next_run(run.end, revision, &run)) {
        if (run.end > KERNEL_LOWEST - space->hhdm)
            fail_number("the HHDM is too small for memory up to", run.end);
        space_map(space, space->hhdm + run.base, run.base, run.end - run.base,
                  SPACE_WRITE | (run.kind == MAP_WRITE_COMBINING ? SPACE_WC : 0));
    }
}
