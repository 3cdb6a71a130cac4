/*
 * freelist_runs.h - the free memory of freelist.c, which alone includes it: runs of
 * granules that nobody has, each in the list of its cell and in a bin.
 *
 *     run   | size, next, check | bin: next, previous | ..................... |
 *            8 bytes             8 bytes, in runs of two granules and more
 *
 * Invariants: no two runs touch; the list of a cell holds every run that starts in
 * it, highest first; the bin of a class holds every run of that class of two
 * granules and more, in any order.
 *
 * A link in a cell is one byte, so it cannot lead out of it; it must lead downwards,
 * so no list is circular, and the last run links to itself. The check binds size,
 * link and place. A link in a bin is believed if the run there links back.
 *
 * The first word of memory that was freed keeps a mark, also when it was merged, so
 * that freeing it again shows at once.
 */
#ifndef LOAM_INTERNAL_FREELIST_RUNS_H
#define LOAM_INTERNAL_FREELIST_RUNS_H

#include <loam/freelist.h>

#include "check.h"
#include "freelist_table.h"

/* What a first word says: 40 bits, and 24 to check them by. */
enum freelist_mark {
    FREELIST_RUN,     /* size in granules, 32 bits; link in the cell, 8 bits */
    FREELIST_WAITING, /* place of the next one of its size, 32 bits; size, 8 bits */
    FREELIST_GONE,    /* nothing: became the inside of a run */
    /* Header of a block in use: bytes asked for. Far from the others, so that a few
     * bits that flip do not make one of them of it. */
    FREELIST_USED = 0xaaaaaa,
};
#define FREELIST_MARK_BITS 40u

/* Runs around a place; 0: none. */
struct freelist_around {
    uint64_t above;  /* lowest run of the place's cell that starts at the place or above */
    uint64_t before; /* the run before that one in the list of the cell */
    uint64_t below;  /* highest run that starts below, in any cell */
};

/* ---- marks --------------------------------------------------------------- */

/* 24 bits that bind 40 bits to a place of this heap. */
static inline uint64_t freelist_check(const struct loam_freelist *list, uint64_t at, uint64_t bits)
{
    return ((bits ^ list->cookie ^ at << 32) * UINT64_C(0xd6e8feb86659fd93)) >> FREELIST_MARK_BITS;
}

static inline void freelist_set_mark(struct loam_freelist *list, uint64_t at,
                                     enum freelist_mark mark, uint64_t bits)
{
    freelist_words(list)[at] = bits | (freelist_check(list, at, bits) ^ mark) << FREELIST_MARK_BITS;
}

static inline uint64_t freelist_mark_bits(const struct loam_freelist *list, uint64_t at)
{
    return freelist_words(list)[at] & ((UINT64_C(1) << FREELIST_MARK_BITS) - 1);
}

/* Which mark is it? Another number than those: none. */
static inline uint64_t freelist_mark_at(const struct loam_freelist *list, uint64_t at)
{
    return freelist_check(list, at, freelist_mark_bits(list, at)) ^
           freelist_words(list)[at] >> FREELIST_MARK_BITS;
}

/* Panic unless the free memory at @p at was found sound. */
static inline void freelist_require_sound(const struct loam_freelist *list, uint64_t at, bool sound)
{
    LOAM_REQUIRE(sound, "freelist: free block is damaged", freelist_address(list, at), 0);
}

/* ---- runs ---------------------------------------------------------------- */

static inline uint64_t freelist_run_size(const struct loam_freelist *list, uint64_t run)
{
    return freelist_words(list)[run] & UINT32_MAX;
}

static inline uint64_t freelist_run_end(const struct loam_freelist *list, uint64_t run)
{
    return run + freelist_run_size(list, run);
}

/* The run below in the list of its cell; 0: none. */
static inline uint64_t freelist_run_next(const struct loam_freelist *list, uint64_t run)
{
    const uint64_t distance = (run - (freelist_words(list)[run] >> 32)) & 0xff;
    return distance != 0 ? run - distance : 0;
}

/* Is there a run, its first word undamaged? */
static inline bool freelist_is_run(const struct loam_freelist *list, uint64_t run)
{
    /* The next run, in the same cell, is lower, or its own place in the cell. */
    return freelist_mark_at(list, run) == FREELIST_RUN &&
           (freelist_words(list)[run] >> 32 & 0xff) <= (run & 0xff) &&
           freelist_run_size(list, run) - 1 < list->place_end - run;
}

static inline void freelist_set_run(struct loam_freelist *list, uint64_t run, uint64_t size,
                                    uint64_t next)
{
    const uint64_t link = (next != 0 ? next : run) & 0xff;
    freelist_set_mark(list, run, FREELIST_RUN, size | link << 32);
}

/* ---- bins ---------------------------------------------------------------- */

/* Links of a run in its bin. Those of place 0 are written, and mean nothing: whether
 * a run has neighbours is as good as random, and branches on it cost more. */
struct freelist_links {
    uint32_t next, previous; /* places; 0: none */
} __attribute__((may_alias));

static inline struct freelist_links *freelist_links_of(const struct loam_freelist *list,
                                                       uint64_t run)
{
    return (struct freelist_links *)(uintptr_t)freelist_address(list, run + 1);
}

/* Where a run is linked from: the run before it in its bin, or the head. */
static inline freelist_place *freelist_linked_from(const struct loam_freelist *list, uint64_t run)
{
    const uint64_t previous = freelist_links_of(list, run)->previous;
    freelist_place *const head = &freelist_bins(list)[freelist_class(freelist_run_size(list, run))];
    freelist_place *const next = &freelist_links_of(list, previous)->next;
    return previous != 0 ? next : head;
}

/* Do the neighbours of a run in its bin know it? */
static inline bool freelist_is_linked(const struct loam_freelist *list, uint64_t run)
{
    if (freelist_run_size(list, run) < 2)
        return true;
    const struct freelist_links *const links = freelist_links_of(list, run);
    if (links->next >= list->place_end || links->previous >= list->place_end)
        return false;
    const uint64_t back = freelist_links_of(list, links->next)->previous;
    return *freelist_linked_from(list, run) == run && (links->next != 0 ? back : run) == run;
}

static inline void freelist_bin_enter(struct loam_freelist *list, uint64_t run, uint64_t size)
{
    if (size < 2)
        return;
    const uint64_t class_of = freelist_class(size);
    freelist_place *const head = &freelist_bins(list)[class_of];

    freelist_links_of(list, *head)->previous = (freelist_place)run;
    *freelist_links_of(list, run) = (struct freelist_links){ *head, 0 };
    *head = (freelist_place)run;
    list->bin_map[class_of / 64] |= UINT64_C(1) << class_of % 64;
}

static inline void freelist_bin_leave(struct loam_freelist *list, uint64_t run)
{
    const uint64_t size = freelist_run_size(list, run);
    if (size < 2)
        return;
    const uint64_t class_of = freelist_class(size);
    const struct freelist_links links = *freelist_links_of(list, run);

    *freelist_linked_from(list, run) = links.next;
    freelist_links_of(list, links.next)->previous = links.previous;
    list->bin_map[class_of / 64] ^= (uint64_t)(freelist_bins(list)[class_of] == 0) << class_of % 64;
}

/* Give a run another size, at the same place and link. */
static inline void freelist_set_size(struct loam_freelist *list, uint64_t run, uint64_t size)
{
    const uint64_t size_old = freelist_run_size(list, run);
    const uint64_t link = freelist_mark_bits(list, run) >> 32 << 32;
    const bool moves = freelist_class(size) != freelist_class(size_old);

    if (moves)
        freelist_bin_leave(list, run);
    freelist_set_mark(list, run, FREELIST_RUN, link | size);
    if (moves)
        freelist_bin_enter(list, run, size);
}

/* ---- lists of cells ------------------------------------------------------ */

/* Let the run @p before, or the head of @p cell if it is 0, link to @p next. */
static inline void freelist_set_next(struct loam_freelist *list, uint64_t cell, uint64_t before,
                                     uint64_t next)
{
    if (before != 0) {
        freelist_set_run(list, before, freelist_run_size(list, before), next);
    } else if (next != 0) {
        freelist_cells(list)[cell] = (freelist_byte)(next & 0xff);
        freelist_cell_enter(list, cell);
    } else {
        freelist_cell_leave(list, cell);
    }
}

/* What lies around a place, which may be the end of the span. */
static inline struct freelist_around freelist_look_around(const struct loam_freelist *list,
                                                          uint64_t place)
{
    struct freelist_around around = { 0, 0, 0 };
    uint64_t cell = freelist_cell_up_to(list, freelist_cell(place));

    while (cell != FREELIST_NO_CELL) { /* twice at most: runs of lower cells are all below */
        uint64_t run = freelist_cell_top(list, cell);
        do {
            freelist_require_sound(list, run, freelist_is_run(list, run));
            if (run < place) {
                around.below = run;
                return around;
            }
            around.before = around.above;
            around.above = run;
            run = freelist_run_next(list, run);
        } while (run != 0); /* ends: downwards */
        cell = cell != 0 ? freelist_cell_up_to(list, cell - 1) : FREELIST_NO_CELL;
    }
    return around;
}

/* Panic if any of a block in use is free. Around is what lies around its end. */
static inline void freelist_require_used(const struct loam_freelist *list,
                                         const struct freelist_around *around, uint64_t at,
                                         uint64_t block)
{
    LOAM_REQUIRE(around->below <= at, "freelist: wrong size", block,
                 freelist_address(list, around->below));
    LOAM_REQUIRE(around->below == 0 || freelist_run_end(list, around->below) <= at,
                 "freelist: block is already free", block, 0);
}

/* ---- changes ------------------------------------------------------------- */

/*
 * Make [at, at + size) free, and one run with what it touches. Around is what
 * lies around its end; nothing of it is free.
 */
static inline void freelist_merge(struct loam_freelist *list, const struct freelist_around *around,
                                  uint64_t at, uint64_t size)
{
    const uint64_t end = at + size;
    const uint64_t cell = freelist_cell(at);
    const uint64_t cell_end = freelist_cell(end);
    const uint64_t below = around->below;
    const bool joins_above = around->above == end;
    const bool joins_below = below != 0 && freelist_run_end(list, below) == at;

    if (joins_above)
        freelist_require_sound(list, end, freelist_is_linked(list, end));
    if (joins_below)
        freelist_require_sound(list, below, freelist_is_linked(list, below));
    if (joins_above) {
        size += freelist_run_size(list, end);
        freelist_bin_leave(list, end);
        if (joins_below || cell != cell_end)
            freelist_set_next(list, cell_end, around->before, freelist_run_next(list, end));
    }
    if (joins_below) {
        freelist_set_mark(list, at, FREELIST_GONE, 0);
        freelist_set_size(list, below, at - below + size);
        return;
    }
    const uint64_t upper = joins_above ? around->before : around->above;
    freelist_set_run(list, at, size, freelist_cell(below) == cell ? below : 0);
    freelist_set_next(list, cell, cell == cell_end ? upper : 0, at);
    freelist_bin_enter(list, at, size);
}

/* The run before this one in the list of its cell; 0: none. */
static inline uint64_t freelist_before(const struct loam_freelist *list, uint64_t run)
{
    uint64_t before = 0;

    for (uint64_t at = freelist_cell_top(list, freelist_cell(run)); at != run;) {
        freelist_require_sound(list, at, freelist_is_run(list, at));
        before = at;
        at = freelist_run_next(list, at);
        LOAM_ASSERT(at >= run); /* ends: downwards, and the run is in the list */
    }
    return before;
}

/* Take @p size granules out of a run, from @p at on; they fit. */
static inline void freelist_carve(struct loam_freelist *list, uint64_t run, uint64_t at,
                                  uint64_t size)
{
    const uint64_t end = at + size;
    const uint64_t rest = freelist_run_end(list, run) - end;
    const uint64_t next = at != run ? run : freelist_run_next(list, run); /* below the rest */
    const uint64_t before = at != run ? 0 : freelist_before(list, run);
    const uint64_t above = rest == 0 ? 0 : freelist_look_around(list, end).above;

    freelist_require_sound(list, run, freelist_is_linked(list, run));
    if (at != run) {
        freelist_set_size(list, run, at - run);
    } else {
        freelist_bin_leave(list, run);
        freelist_set_next(list, freelist_cell(run), before, next);
    }
    freelist_words(list)[at] = 0; /* no mark */
    if (rest != 0) {              /* becomes a run of its own */
        freelist_set_run(list, end, rest, freelist_cell(run) == freelist_cell(end) ? next : 0);
        freelist_set_next(list, freelist_cell(end), above, end);
        freelist_bin_enter(list, end, rest);
    }
}

/* ---- search -------------------------------------------------------------- */

/* A request. */
struct freelist_want {
    uint64_t size;   /* granules, 2 at least */
    uint64_t align;  /* bytes, power of two, at least one granule */
    uint64_t offset; /* granules; address + offset is aligned */
};

/* A run that can serve a request, and where. */
struct freelist_found {
    uint64_t run, at; /* at 0: none */
};

/* Highest place for a request in a run; 0: none. Leaves no single granule before it,
 * which nothing could use, unless it may. */
static inline uint64_t freelist_fit(const struct loam_freelist *list, uint64_t run,
                                    const struct freelist_want *want, bool may_leave_one)
{
    const uint64_t size = freelist_run_size(list, run);
    const uint64_t last = run + size - want->size;
    const uint64_t over = freelist_address(list, last + want->offset) & (want->align - 1);
    const uint64_t at = last - over / FREELIST_GRANULE;

    if (size < want->size || at - run > size - want->size)
        return 0;
    return at - run != 1 || may_leave_one ? at : 0;
}

/* Does the first run of a bin do? */
static inline struct freelist_found freelist_find_first(const struct loam_freelist *list,
                                                        uint64_t class_of,
                                                        const struct freelist_want *want)
{
    const uint64_t run = freelist_bins(list)[class_of];
    freelist_require_sound(list, run, freelist_is_run(list, run));
    return (struct freelist_found){ run, freelist_fit(list, run, want, false) };
}

/* Look at all runs that are large enough. */
static inline struct freelist_found freelist_find_any(const struct loam_freelist *list,
                                                      const struct freelist_want *want,
                                                      bool may_leave_one)
{
    for (uint64_t class_of = freelist_class_from(list, freelist_class(want->size));
         class_of != FREELIST_CLASS_COUNT; class_of = freelist_class_from(list, class_of + 1)) {
        for (uint64_t run = freelist_bins(list)[class_of]; run != 0;
             run = freelist_links_of(list, run)->next) { /* ends: each is linked from one other */
            freelist_require_sound(list, run,
                                   freelist_is_run(list, run) && freelist_is_linked(list, run));
            const uint64_t at = freelist_fit(list, run, want, may_leave_one);
            if (at != 0)
                return (struct freelist_found){ run, at };
        }
    }
    return (struct freelist_found){ 0, 0 };
}

/* Find room. Tries a run that may have some, then one that surely has, then all. */
static inline struct freelist_found freelist_find(const struct loam_freelist *list,
                                                  const struct freelist_want *want)
{
    const uint64_t size_sure = want->size + want->align / FREELIST_GRANULE + 1;
    uint64_t class_of = freelist_class_from(list, freelist_class(want->size));
    struct freelist_found found = { 0, 0 };

    if (class_of == FREELIST_CLASS_COUNT)
        return found;
    found = freelist_find_first(list, class_of, want);
    if (found.at != 0)
        return found;
    class_of = freelist_class_from(list, freelist_class_sure(size_sure));
    if (class_of != FREELIST_CLASS_COUNT)
        return freelist_find_first(list, class_of, want);
    found = freelist_find_any(list, want, false);
    return found.at != 0 ? found : freelist_find_any(list, want, true);
}

#endif
