/*
 * explain_walk.h - page tables as the processor reads them, for explain.c alone: from
 * the Intel SDM, vol. 3, sections 4.5 to 4.7, and not from paging.c, whose work may be
 * what is wrong.
 */
#ifndef LOAM_INTERNAL_EXPLAIN_WALK_H
#define LOAM_INTERNAL_EXPLAIN_WALK_H

#include <loam/explain.h>

#include <stdatomic.h>

#include "pte.h"

#define EXPLAIN_TRIES 8u /* walks, while other CPUs give tables back */

/* Reads what may be no table any more: then other CPUs write there as they like. It is
 * RAM all the same, and what was read is not believed. */
#if defined(__clang__)
#define EXPLAIN_UNSANITIZED __attribute__((no_sanitize("thread")))
#else
#define EXPLAIN_UNSANITIZED __attribute__((no_sanitize_thread))
#endif

EXPLAIN_UNSANITIZED static inline uint64_t explain_load(const struct loam_names *names, uint64_t at)
{
    const _Atomic(uint64_t) *const word = loam_hhdm_pointer(names->space->hhdm, loam_phys_at(at));
    return atomic_load(word);
}

/* Goes up before a table of the space, or of the kernel half it shares, is given back. */
static inline uint64_t explain_gone(const struct loam_space *space)
{
    return atomic_load(&space->gone) +
           (space->kernel != NULL ? atomic_load(&space->kernel->gone) : 0);
}

/* An entry on the way down. */
struct explain_step {
    uint64_t at; /* where it lies, physical */
    uint64_t entry;
    unsigned level;
};

struct explain_walk {
    enum loam_fault_cause cause;
    unsigned level;                          /* whose entry decides; 0: none */
    unsigned count;                          /* entries read */
    struct explain_step step[PTE_LEVEL_MAX]; /* from the root down */
    unsigned leaf_level;                     /* 0: no page was reached */
    uint64_t phys;                           /* behind the address, if one was */
    uint64_t reserved;                       /* bits that are set and should not be */
};

/* May this be read through the direct map? */
static inline bool explain_is_ram(const struct loam_names *names, uint64_t phys)
{
    const struct loam_phys_range page =
        loam_phys_range_of(loam_phys_at(loam_page_floor(phys)), LOAM_PAGE_SIZE);

    return names->frame != NULL && loam_frame_has(names->frame, page);
}

/* Bits that must be zero in a present entry. */
static inline uint64_t explain_reserved(const struct loam_cpu_features *features, uint64_t entry,
                                        unsigned level)
{
    const bool may_be_large = level == 2 || (level == 3 && features->gib_pages);
    uint64_t bits = PTE_ADDRESS & ~((UINT64_C(1) << features->phys_bits) - 1);

    bits |= features->nx ? 0 : PTE_NX;
    if (level == 1)
        return bits | (features->pat ? 0 : PTE_PAT_SMALL);
    if ((entry & PTE_LARGE) == 0)
        return bits;
    if (!may_be_large)
        return bits | PTE_LARGE;
    bits |= ((UINT64_C(1) << pte_shift(level)) - 1) & PTE_ADDRESS & ~PTE_PAT_LARGE;
    return bits | (features->pat ? 0 : PTE_PAT_LARGE);
}

/* Go down. @return the cause if the walk itself is it; LOAM_FAULT_BY_NOTHING: a page */
static inline enum loam_fault_cause explain_descend(const struct loam_names *names,
                                                    const struct loam_fault *fault,
                                                    struct explain_walk *walk)
{
    const struct loam_cpu_features *const features = &names->space->features;
    uint64_t table =
        (loam_phys_is_none(fault->root) ? names->space->root : fault->root).addr & PTE_ADDRESS;

    walk->level = 0;
    if (!loam_virt_is_canonical(fault->address, features->levels))
        return LOAM_FAULT_BY_ADDRESS;
    for (unsigned level = features->levels; level > 0; level--) {
        const uint64_t at = table + 8 * (uint64_t)pte_index(fault->address.addr, level);
        walk->level = level;
        if (!explain_is_ram(names, at))
            return LOAM_FAULT_BY_TABLE;
        const uint64_t entry = explain_load(names, at);
        const struct explain_step step = { at, entry, level };
        walk->step[walk->count++] = step;
        walk->reserved = entry & explain_reserved(features, entry, level);
        if ((entry & PTE_PRESENT) == 0)
            return LOAM_FAULT_BY_ABSENCE;
        if (walk->reserved != 0)
            return LOAM_FAULT_BY_FORMAT;
        if (level == 1 || (entry & PTE_LARGE) != 0) {
            walk->leaf_level = level;
            walk->phys =
                pte_leaf_phys(entry, level) | (fault->address.addr & (pte_span(level) - 1));
            walk->level = 0;
            return LOAM_FAULT_BY_NOTHING;
        }
        table = entry & PTE_ADDRESS;
    }
    return LOAM_FAULT_BY_NOTHING; /* not reached: level 1 has no tables */
}

/* The highest level whose entry has not @p want in these bits; 0: there is none. */
static inline unsigned explain_level(const struct explain_walk *walk, uint64_t bits, uint64_t want)
{
    for (unsigned i = 0; i < walk->count; i++) {
        if ((walk->step[i].entry & bits) != want)
            return walk->step[i].level;
    }
    return 0;
}

/* What rights of all levels together say; sets walk->level. */
static inline enum loam_fault_cause explain_rights(uint64_t error, struct explain_walk *walk)
{
    const unsigned kernel_only = explain_level(walk, PTE_USER, PTE_USER);
    const unsigned read_only = explain_level(walk, PTE_WRITE, PTE_WRITE);
    const unsigned data_only = explain_level(walk, PTE_NX, 0);

    walk->level = kernel_only;
    if ((error & LOAM_FAULT_USER) != 0 && kernel_only != 0)
        return LOAM_FAULT_BY_USER;
    walk->level = read_only;
    if ((error & LOAM_FAULT_WRITE) != 0 && read_only != 0)
        return LOAM_FAULT_BY_WRITE;
    walk->level = data_only;
    if ((error & LOAM_FAULT_FETCH) != 0 && data_only != 0)
        return LOAM_FAULT_BY_FETCH;
    walk->level = 0;
    if ((error & (LOAM_FAULT_USER | LOAM_FAULT_PRESENT)) == LOAM_FAULT_PRESENT && kernel_only == 0)
        return LOAM_FAULT_BY_SUPERVISION;
    return LOAM_FAULT_BY_NOTHING;
}

static inline void explain_walk_tables(const struct loam_names *names,
                                       const struct loam_fault *fault, struct explain_walk *walk)
{
    uint64_t gone;
    unsigned tries = 0;

    do {
        gone = explain_gone(names->space);
        walk->count = 0;
        walk->leaf_level = 0;
        walk->phys = 0;
        walk->reserved = 0;
        walk->cause = explain_descend(names, fault, walk);
    } while (explain_gone(names->space) != gone && ++tries < EXPLAIN_TRIES);
    if (walk->cause == LOAM_FAULT_BY_NOTHING)
        walk->cause = explain_rights(fault->error, walk);
}

#endif
