/*
 * dump.h - what the dump and the lint share: runs, one after the other, and where two
 * of them show the same memory.
 */
#ifndef LOAM_INTERNAL_DUMP_H
#define LOAM_INTERNAL_DUMP_H

#include <loam/dump.h>

/* Where a walk over a space is. */
struct dump_cursor {
    loam_virt at;
    bool ended; /* at 2^64 */
};

static inline void dump_move(struct dump_cursor *cursor, loam_virt last)
{
    cursor->at.addr = last.addr + 1;
    cursor->ended = cursor->at.addr == 0;
}

/* The part of the next run that begins at or above the cursor; does not move it. */
static inline bool dump_peek(const struct loam_names *names, const struct dump_cursor *cursor,
                             struct loam_mapping *run)
{
    if (cursor->ended || loam_space_next(names->space, cursor->at, run) != LOAM_OK)
        return false;
    if (run->virt.start.addr < cursor->at.addr) { /* inside a large page */
        const uint64_t skip = cursor->at.addr - run->virt.start.addr;
        run->virt.start = cursor->at;
        run->virt.size -= skip;
        run->phys.addr += skip;
    }
    return true;
}

/* The next run as a whole. */
static inline bool dump_next(const struct loam_names *names, struct dump_cursor *cursor,
                             struct loam_mapping *run)
{
    if (!dump_peek(names, cursor, run))
        return false;
    dump_move(cursor, loam_virt_at(run->virt.start.addr + (run->virt.size - 1)));
    return true;
}

/* Are these pages? Entries in use that are not present show nothing. */
static inline bool dump_is_mapped(const struct loam_mapping *run)
{
    return run->kind == LOAM_ENTRY_PAGE;
}

/* Is memory recorded behind them? */
static inline bool dump_has_memory(const struct loam_mapping *run)
{
    return run->kind == LOAM_ENTRY_PAGE || run->kind == LOAM_ENTRY_HELD;
}

static inline struct loam_phys_range dump_memory(const struct loam_mapping *run)
{
    return loam_phys_range_of(run->phys, run->virt.size);
}

/* Where a run shows the first byte that it shares with a range. @return false: it has none */
static inline bool dump_shows(const struct loam_mapping *run, struct loam_phys_range range,
                              loam_virt *where)
{
    if (!dump_is_mapped(run) || !loam_phys_range_overlaps(dump_memory(run), range))
        return false;
    const uint64_t first = range.start.addr > run->phys.addr ? range.start.addr : run->phys.addr;
    where->addr = run->virt.start.addr + (first - run->phys.addr);
    return true;
}

/* Does the run show its memory where the direct map does? */
static inline bool dump_is_direct(const struct loam_names *names, const struct loam_mapping *run)
{
    return dump_is_mapped(run) &&
           loam_hhdm_virt(names->space->hhdm, run->phys).addr == run->virt.start.addr;
}

/* Can these pages be executed, although the CPU could forbid it? */
static inline bool dump_is_executable(const struct loam_names *names,
                                      const struct loam_mapping *run)
{
    return dump_is_mapped(run) && names->space->features.nx &&
           (run->attr.prot & LOAM_PROT_EXEC) != 0;
}

/* Can this memory be written here? A page that is copied first is another one then. */
static inline bool dump_is_writable(const struct loam_mapping *run)
{
    return dump_is_mapped(run) && (run->attr.prot & LOAM_PROT_WRITE) != 0 && !run->is_cow;
}

/* Can @p other write what can be executed in @p run, and should not? The kernel loads
 * programs of users through the direct map: that counts for the kernel's own code only. */
static inline bool dump_is_exposed(const struct loam_names *names, const struct loam_mapping *run,
                                   const struct loam_mapping *other)
{
    const bool is_user = (run->attr.prot & LOAM_PROT_USER) != 0;

    return dump_is_executable(names, run) && dump_is_writable(other) &&
           !(is_user && dump_is_direct(names, other));
}

#endif
