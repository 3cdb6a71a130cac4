/*
 * stack.c - see stack.h. One block of frames per CPU, mapped in four pieces.
 */
#include "stack.h"

#include "layout.h"
#include "memory.h"

#define SLOT_BYTES UINT64_C(0x20000)

LOAM_STATIC_ASSERT(SLOT_BYTES *LOAM_CPUS_MAX <= LAYOUT_SCRATCH - LAYOUT_STACKS,
                   "every CPU has a slot for its stacks");

static const struct {
    const char *name;
    uint64_t bytes;
} parts[STACK_PARTS] = {
    { "main", 0x8000 },
    { "page fault", 2 * CPU_FAULT_NEST_BYTES },
    { "double fault", 0x2000 },
    { "NMI", 0x2000 },
};

struct stack_part stack_part_of(unsigned cpu, unsigned part)
{
    uint64_t at = LAYOUT_STACKS + SLOT_BYTES * cpu;
    for (unsigned i = 0; i < part; i++)
        at += LOAM_PAGE_SIZE + parts[i].bytes;
    return (struct stack_part){ parts[part].name, at, at + LOAM_PAGE_SIZE,
                                at + LOAM_PAGE_SIZE + parts[part].bytes };
}

static void unmap_parts(unsigned cpu, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct stack_part part = stack_part_of(cpu, i);
        (void)!loam_unmap(&memory,
                          loam_virt_range_of(loam_virt_at(part.bottom), part.top - part.bottom));
    }
}

enum loam_status stack_make(unsigned cpu, struct cpu_stacks *stacks)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB };
    struct loam_phys_range frames;
    uint64_t total_bytes = 0;
    for (unsigned i = 0; i < STACK_PARTS; i++)
        total_bytes += parts[i].bytes;

    const struct loam_frame_request request = { .page_count = total_bytes / LOAM_PAGE_SIZE };
    enum loam_status st = loam_take(&memory, &request, LOAM_OWNER_KERNEL, &frames);
    if (st != LOAM_OK)
        return st;

    loam_phys phys = frames.start;
    for (unsigned i = 0; i < STACK_PARTS; i++) {
        const struct stack_part part = stack_part_of(cpu, i);
        const struct loam_virt_range virt =
            loam_virt_range_of(loam_virt_at(part.bottom), part.top - part.bottom);
        st = loam_map(&memory, virt, phys, attr);
        if (st != LOAM_OK) {
            unmap_parts(cpu, i);
            (void)!loam_give(&memory, frames, LOAM_OWNER_KERNEL);
            return st;
        }
        phys.addr += virt.size;
    }
    stacks->main = stack_part_of(cpu, 0).top;
    stacks->ist[IST_PAGE_FAULT] = stack_part_of(cpu, 1).top;
    stacks->ist[IST_DOUBLE_FAULT] = stack_part_of(cpu, 2).top;
    stacks->ist[IST_NMI] = stack_part_of(cpu, 3).top;
    return LOAM_OK;
}

bool stack_find_guard(uint64_t address, unsigned *cpu, struct stack_part *part)
{
    if (address < LAYOUT_STACKS || address - LAYOUT_STACKS >= SLOT_BYTES * LOAM_CPUS_MAX)
        return false;
    const unsigned index = (unsigned)((address - LAYOUT_STACKS) / SLOT_BYTES);
    for (unsigned i = 0; i < STACK_PARTS; i++) {
        const struct stack_part candidate = stack_part_of(index, i);
        if (address >= candidate.guard && address < candidate.bottom) {
            *cpu = index;
            *part = candidate;
            return true;
        }
    }
    return false;
}
