/*
 * explain_ask.h - looking things up in the vrange and the usage map without trusting
 * them, for explain.c alone: locks are tried, every node lies in RAM, every descent is
 * bounded.
 */
#ifndef LOAM_INTERNAL_EXPLAIN_ASK_H
#define LOAM_INTERNAL_EXPLAIN_ASK_H

#include <loam/explain.h>
#include <loam/x86.h>

#include "explain_walk.h"
#include "names.h"
#include "usage_node.h"
#include "vrange_tree.h"

#define EXPLAIN_DEPTH_MAX 128u /* of the vrange's tree: a treap of 2^60 records is not as deep */

enum explain_answer {
    EXPLAIN_YES,
    EXPLAIN_NO,
    EXPLAIN_BUSY,   /* it is being changed */
    EXPLAIN_BROKEN, /* something in it lies where there is no RAM, or has no end */
    EXPLAIN_SILENT, /* there is nobody to ask */
};

/* ---- the usage map -------------------------------------------------------- */

/* Room for a node at a physical address? None lies across pages. */
static inline bool explain_is_node(const struct loam_names *names, loam_phys at, uint64_t bytes)
{
    return at.addr % sizeof(uint64_t) == 0 && explain_is_ram(names, at.addr) &&
           explain_is_ram(names, at.addr + (bytes - 1));
}

static inline enum explain_answer explain_usage_locked(const struct loam_names *names, uint64_t at,
                                                       struct usage_entry *out)
    LOAM_NEEDS(names->usage->lock)
{
    const struct loam_hhdm hhdm = names->space->hhdm;
    loam_phys node = names->usage->root;
    uint64_t height = names->usage->height;

    if (loam_phys_is_none(node))
        return EXPLAIN_NO;
    if (height > LOAM_USAGE_HEIGHT_MAX)
        return EXPLAIN_BROKEN;
    for (; height > 0; height--) {
        if (!explain_is_node(names, node, sizeof(struct usage_inner)))
            return EXPLAIN_BROKEN;
        const struct usage_inner *const inner = loam_hhdm_pointer(hhdm, node);
        const uint64_t index = usage_inner_index(inner, at);
        if (index >= USAGE_INNER_MAX)
            return EXPLAIN_BROKEN;
        node = inner->child[index];
    }
    if (!explain_is_node(names, node, sizeof(struct usage_leaf)))
        return EXPLAIN_BROKEN;
    const struct usage_leaf *const leaf = loam_hhdm_pointer(hhdm, node);
    const uint64_t index = usage_leaf_index(leaf, at);
    if (index >= USAGE_LEAF_MAX || index >= leaf->count)
        return EXPLAIN_NO;
    *out = usage_leaf_entry(leaf, index);
    return out->first <= at ? EXPLAIN_YES : EXPLAIN_NO;
}

/* The interval that has a physical address. */
static inline enum explain_answer explain_usage(const struct loam_names *names, uint64_t at,
                                                struct usage_entry *out)
{
    if (names->usage == NULL)
        return EXPLAIN_SILENT;
    enum explain_answer answer = EXPLAIN_BUSY;
    const uint64_t irq = loam_x86_irq_save();
    if (loam_ticketlock_try(&names->usage->lock)) {
        answer = explain_usage_locked(names, at, out);
        loam_ticketlock_release(&names->usage->lock);
    }
    loam_x86_irq_restore(irq);
    return answer;
}

/* ---- the vrange ----------------------------------------------------------- */

/* May a record be read? It lies in a frame of the stock, or is the end of a window. */
static inline bool explain_is_record(const struct loam_names *names,
                                     const struct loam_vrange_window *window,
                                     const struct loam_vrange_record *record)
{
    if (record == &window->end)
        return true;
    const loam_phys phys = loam_hhdm_phys(names->space->hhdm, loam_virt_of(record));
    return explain_is_node(names, phys, sizeof(*record));
}

/* The lowest record of a window that ends above a page. */
static inline enum explain_answer explain_record_locked(const struct loam_names *names,
                                                        const struct loam_vrange_window *window,
                                                        uint64_t page,
                                                        const struct loam_vrange_record **out)
    LOAM_NEEDS(names->vrange->lock)
{
    const struct loam_vrange_record *record = vrange_root(window);

    *out = NULL;
    for (unsigned depth = 0; record != NULL; depth++) {
        if (depth == EXPLAIN_DEPTH_MAX || !explain_is_record(names, window, record))
            return EXPLAIN_BROKEN;
        const bool is_below = vrange_end(record) <= page;
        if (!is_below)
            *out = record;
        record = is_below ? vrange_right(record) : vrange_left(record);
    }
    return *out != NULL && *out != &window->end ? EXPLAIN_YES : EXPLAIN_NO;
}

static inline struct loam_place explain_place_of(const struct loam_vrange_record *record,
                                                 uint64_t page)
{
    const struct loam_vrange_info info = vrange_info_of(record);
    const uint64_t first = vrange_page(info.range.start);
    const uint64_t end = first + (info.range.size >> LOAM_PAGE_SHIFT);
    struct loam_place place = { LOAM_PLACE_RANGE,
                                info.name,
                                { first << LOAM_PAGE_SHIFT },
                                { (end << LOAM_PAGE_SHIFT) - 1 },
                                NULL };

    if (info.state == LOAM_VRANGE_WAITING)
        place.kind = LOAM_PLACE_WAITING;
    else if (info.state == LOAM_VRANGE_CACHED)
        place.kind = LOAM_PLACE_FREE;
    else if (page < first)
        place.kind = LOAM_PLACE_GUARD_BEFORE;
    else if (page >= end)
        place.kind = LOAM_PLACE_GUARD_AFTER;
    return place;
}

/* A range that was freed. */
struct explain_gone {
    struct loam_vrange_gone last;
    uint64_t since; /* ranges freed from then on, itself included; 0: none is remembered */
};

/* The last one that had an address. */
static inline struct explain_gone explain_gone_locked(const struct loam_vrange *vrange, uint64_t at)
    LOAM_NEEDS(vrange->lock)
{
    struct explain_gone gone = { .since = 0 };

    for (uint64_t i = 1; i <= LOAM_VRANGE_GONE && i <= vrange->freed_count; i++) {
        gone.last = vrange->gone[(vrange->freed_count - i) % LOAM_VRANGE_GONE];
        if (at - gone.last.range.start.addr < gone.last.range.size) {
            gone.since = i;
            break;
        }
    }
    return gone;
}

static inline enum explain_answer explain_vrange_locked(const struct loam_names *names, uint64_t at,
                                                        struct loam_place *out)
    LOAM_NEEDS(names->vrange->lock)
{
    const uint64_t page = at >> LOAM_PAGE_SHIFT;
    const struct loam_vrange *const vrange = names->vrange;
    const struct loam_vrange_record *record = NULL;

    for (unsigned i = 0; i < atomic_load(&vrange->window_count) && i < LOAM_VRANGE_WINDOWS_MAX;
         i++) {
        const struct loam_vrange_window *const window = &vrange->window[i];
        if (page < window->first || page >= vrange_first(&window->end))
            continue;
        const enum explain_answer answer = explain_record_locked(names, window, page, &record);
        if (answer == EXPLAIN_BROKEN)
            return EXPLAIN_BROKEN;
        if (answer == EXPLAIN_YES && vrange_first(record) <= page) {
            *out = explain_place_of(record, page);
        } else {
            const struct loam_place gap = { LOAM_PLACE_FREE, "free", { 0 }, { 0 }, NULL };
            *out = gap;
        }
        return EXPLAIN_YES;
    }
    return EXPLAIN_NO;
}

/* What is at an address, and was before; first and last are those of the range itself.
 * EXPLAIN_YES, or who could not be asked: then only what needs no lock was. */
static inline enum explain_answer explain_place(const struct loam_names *names, uint64_t at,
                                                struct loam_place *out, struct explain_gone *gone)
{
    uint64_t last = UINT64_MAX;
    const struct loam_image_section *const section = names_section(names, at, &last);
    enum explain_answer answer = EXPLAIN_NO;

    gone->since = 0;
    if (section != NULL) {
        *out = names_inside(section, last);
        return EXPLAIN_YES;
    }
    if (names->vrange != NULL) {
        const uint64_t irq = loam_x86_irq_save();
        answer = EXPLAIN_BUSY;
        if (loam_ticketlock_try(&names->vrange->lock)) {
            answer = explain_vrange_locked(names, at, out);
            if (answer == EXPLAIN_YES)
                *gone = explain_gone_locked(names->vrange, at);
            loam_ticketlock_release(&names->vrange->lock);
        }
        loam_x86_irq_restore(irq);
    }
    if (answer == EXPLAIN_YES)
        return EXPLAIN_YES;
    *out = names_outside(names, at, last);
    return answer == EXPLAIN_NO ? EXPLAIN_YES : answer;
}

#endif
