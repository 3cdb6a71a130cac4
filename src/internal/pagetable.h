/*
 * pagetable.h - tables as they lie in memory: words, locks, walks, and a tour of a
 * whole tree.
 *
 * Who may write what. A region is 2 MiB, the memory of one table of level 1; its
 * stripe is its number modulo 16.
 *     entries of levels 1 and 2    who has the region's stripe
 *     entries of level 3 and up    who has all stripes; and any stripe keeps them
 *     their counts (PTE_IN_USE)    the entries of level 3 also who has one stripe,
 *                                  by atomic addition
 * So a table of level 2 or above stays where it is while any stripe is held.
 *
 * Who only looks takes no lock (paging_look()). He may step into a table that was
 * given back and is somebody else's by now; so before he believes what he read, and
 * before he follows it, he looks whether space->gone has changed: it goes up before
 * a table is given back. Loads are not reordered with loads, nor stores with stores:
 * Intel SDM vol. 3, section 9.2.2. His loads are sequentially consistent, which costs
 * nothing here and which no compiler reorders; no test could tell weaker ones.
 */
#ifndef LOAM_INTERNAL_PAGETABLE_H
#define LOAM_INTERNAL_PAGETABLE_H

#include <loam/paging.h>

#include <stdatomic.h>

#include "check.h"
#include "pte.h"

typedef _Atomic(uint64_t) paging_word;

#define PAGING_ALL ((1u << LOAM_SPACE_STRIPES) - 1) /* every stripe */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PAGING_UNSANITIZED __attribute__((no_sanitize("thread")))
#endif
#elif defined(__SANITIZE_THREAD__)
#define PAGING_UNSANITIZED __attribute__((no_sanitize_thread))
#endif
#ifndef PAGING_UNSANITIZED
#define PAGING_UNSANITIZED
#endif

/* One entry and where it is. */
struct paging_slot {
    paging_word *table;
    unsigned level; /* of the table */
    unsigned index;
    uint64_t entry; /* as read */
};

static inline paging_word *paging_table(const struct loam_space *space, uint64_t phys)
{
    return loam_hhdm_pointer(space->hhdm, loam_phys_at(phys));
}

static inline uint64_t paging_load(const paging_word *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void paging_store(paging_word *word, uint64_t entry)
{
    atomic_store_explicit(word, entry, memory_order_relaxed);
}

/* Release: a processor, or who only looks, that sees the link sees what was filled in
 * before. */
static inline void paging_publish(paging_word *word, uint64_t link)
{
    atomic_store_explicit(word, link, memory_order_release);
}

/* The lower half is user space: its tables admit user pages. */
static inline bool paging_is_lower(uint64_t virt)
{
    return virt >> 63 == 0;
}

/* Whose tables translate @p virt. */
static inline const struct loam_space *paging_owner(const struct loam_space *space, uint64_t virt)
{
    return space->kernel != NULL && !paging_is_lower(virt) ? space->kernel : space;
}

/* Does an entry point to a table, and is it one of ours? */
static inline bool paging_is_link(const struct loam_space *space, uint64_t entry)
{
    return (entry & space->not_in_link) == PTE_PRESENT;
}

/* Does an entry of level 1 map a page, and is it one of ours? */
static inline bool paging_is_page(const struct loam_space *space, uint64_t entry)
{
    return (entry & space->not_in_page) == PTE_PRESENT;
}

static inline void paging_require_ours(const struct loam_space *space, uint64_t entry,
                                       unsigned level, unsigned index)
{
    LOAM_REQUIRE(pte_is_ours(&space->features, entry, level),
                 "paging: corrupt entry (entry; level * 512 + index)", entry,
                 level * PTE_COUNT + index);
}

static inline void paging_require_below(const paging_word *table, const paging_word *below,
                                        uint64_t entry, unsigned level, unsigned index)
{
    LOAM_REQUIRE(below != table, "paging: table points to itself (entry; level * 512 + index)",
                 entry, level * PTE_COUNT + index);
}

static inline enum loam_entry_kind paging_kind(uint64_t entry)
{
    if (pte_is_present(entry))
        return LOAM_ENTRY_PAGE;
    switch (entry & PTE_KIND) {
    case PTE_GUARD:
        return LOAM_ENTRY_GUARD;
    case PTE_TAG:
        return LOAM_ENTRY_TAG;
    case PTE_HELD:
        return LOAM_ENTRY_HELD;
    default: /* or the link of a table that was just unlinked: its lowest bits are 0 */
        return LOAM_ENTRY_EMPTY;
    }
}

static inline loam_page_bits paging_bits(uint64_t entry)
{
    return ((entry & PTE_ACCESSED) != 0 ? LOAM_PAGE_ACCESSED : 0) |
           ((entry & PTE_DIRTY) != 0 ? LOAM_PAGE_DIRTY : 0);
}

/* What a page's entry says of the byte at @p offset in it. */
static inline struct loam_translation paging_translation(const struct loam_space *space,
                                                         uint64_t entry, unsigned level,
                                                         uint64_t offset)
{
    const struct loam_translation found = {
        .phys = loam_phys_at(pte_leaf_phys(entry, level) + offset),
        .attr = pte_attr(&space->features, entry, level),
        .page_size = pte_span(level),
        .is_cow = (entry & PTE_COW) != 0,
        .bits = paging_bits(entry),
        .soft = (unsigned)((entry & PTE_SOFT) >> PTE_SOFT_SHIFT),
    };
    return found;
}

/* ---- locks --------------------------------------------------------------- */

/* The stripes of all regions of a range. */
static inline unsigned paging_stripes(uint64_t start, uint64_t size)
{
    const uint64_t first = start >> pte_shift(2);
    const uint64_t last = (start + (size - 1)) >> pte_shift(2);
    const unsigned at = (unsigned)first % LOAM_SPACE_STRIPES;

    if (last - first >= LOAM_SPACE_STRIPES - 1)
        return PAGING_ALL;
    const unsigned some = (2u << (last - first)) - 1;
    return (some << at | some >> (LOAM_SPACE_STRIPES - at)) & PAGING_ALL;
}

/* In ascending order: two who want the same two cannot wait for each other. */
static inline loam_irq_state paging_lock(struct loam_space *space, unsigned stripes)
    LOAM_ACQUIRES(space->locks) LOAM_UNCHECKED
{
    const unsigned first = (unsigned)__builtin_ctz(stripes);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&space->locks.stripe[first].lock);

    for (unsigned rest = stripes & (stripes - 1); rest != 0; rest &= rest - 1)
        loam_ticketlock_acquire(&space->locks.stripe[__builtin_ctz(rest)].lock);
    return irq;
}

static inline void paging_unlock(struct loam_space *space, unsigned stripes, loam_irq_state irq)
    LOAM_RELEASES(space->locks) LOAM_UNCHECKED
{
    const unsigned first = (unsigned)__builtin_ctz(stripes);

    for (unsigned rest = stripes & (stripes - 1); rest != 0; rest &= rest - 1)
        loam_ticketlock_release(&space->locks.stripe[__builtin_ctz(rest)].lock);
    loam_ticketlock_release_irq(&space->locks.stripe[first].lock, irq);
}

/* ---- walks --------------------------------------------------------------- */

/* A way down that remembers the tables it went through. */
struct paging_walk {
    struct loam_space *space;
    uint64_t virt;                         /* of the last search */
    unsigned level;                        /* the lowest table on that way */
    paging_word *table[PTE_LEVEL_MAX + 1]; /* by level, from there up */
};

static inline void paging_walk_begin(struct paging_walk *walk, struct loam_space *space)
{
    walk->space = space;
    walk->virt = 0;
    walk->level = space->features.levels;
    walk->table[walk->level] = paging_table(space, space->root.addr);
}

/* Descend towards @p virt, from where the last way branches off: to the table of level
 * @p stop, or to the first entry on the way that is no table. */
static inline struct paging_slot paging_find_locked(struct paging_walk *walk, uint64_t virt,
                                                    unsigned stop) LOAM_NEEDS(walk->space->locks)
{
    const struct loam_space *const space = walk->space;
    const uint64_t other = walk->virt ^ virt;
    unsigned level = walk->level > stop ? walk->level : stop;

    while (level < space->features.levels && other >> pte_shift(level + 1) != 0)
        level++;
    walk->virt = virt;
    for (;; level--) {
        LOAM_ASSERT(level >= 1); /* entries of level 1 are leaves */
        paging_word *const table = walk->table[level];
        const unsigned index = pte_index(virt, level);
        const struct paging_slot slot = { table, level, index, paging_load(&table[index]) };
        walk->level = level;
        if (level == stop || !paging_is_link(space, slot.entry)) {
            if (slot.entry != 0)
                paging_require_ours(space, slot.entry, level, index);
            return slot;
        }
        paging_word *const below = paging_table(space, pte_table_phys(slot.entry));
        paging_require_below(table, below, slot.entry, level, index);
        walk->table[level - 1] = below;
    }
}

/* The entry that points to the table of @p level on the way. Not of the root. */
static inline paging_word *paging_link_of(const struct paging_walk *walk, unsigned level)
{
    return &walk->table[level + 1][pte_index(walk->virt, level + 1)];
}

/* The table of @p level on the way has @p change entries more, or fewer, in use.
 * @return how many now; of the root, which is not counted: 1 */
static inline unsigned paging_count_locked(const struct paging_walk *walk, unsigned level,
                                           int change) LOAM_NEEDS(walk->space->locks)
{
    const uint64_t add = (uint64_t)change * PTE_ONE;

    if (level == walk->space->features.levels)
        return 1;
    paging_word *const word = paging_link_of(walk, level);
    if (level == 1) { /* ours alone */
        const uint64_t link = paging_load(word) + add;
        paging_store(word, link);
        return pte_in_use(link);
    }
    return pte_in_use(atomic_fetch_add_explicit(word, add, memory_order_relaxed) + add);
}

/* Which word of space->recent, and what must stand in it beside the table's address:
 * above bit 51 and below bit 12 there is room for the 21 bits that five levels take. */
static inline unsigned paging_recent_index(uint64_t virt)
{
    return (unsigned)(virt >> pte_shift(3)) % LOAM_SPACE_RECENT;
}

static inline uint64_t paging_recent_tag(uint64_t virt)
{
    const uint64_t number = (virt >> (pte_shift(3) + 5) | 1) & 0x3fffff; /* 21 bits, and a 1 */
    return number >> 12 | number << 52;
}

/* The address of the table, with the tag taken away; with other bits set, if the tag is
 * another one. */
static inline uint64_t paging_recent_untag(uint64_t recent, uint64_t virt)
{
    return recent ^ paging_recent_tag(virt);
}

/* The tag says all of a GiB's address but its highest 7 bits: do they go on as bit 56? With
 * the tag of a canonical address this one is canonical, too. */
static inline bool paging_fits_tag(uint64_t virt)
{
    return (uint64_t)((int64_t)virt >> 56) + 1 <= 1;
}

/* ---- one page ------------------------------------------------------------ */

/* The stripe of one region. */
static inline loam_irq_state paging_lock_one(struct loam_space *space, uint64_t virt)
    LOAM_ACQUIRES(space->locks) LOAM_UNCHECKED
{
    const uint64_t stripe = (virt >> pte_shift(2)) % LOAM_SPACE_STRIPES;
    return loam_ticketlock_acquire_irq(&space->locks.stripe[stripe].lock);
}

static inline void paging_unlock_one(struct loam_space *space, uint64_t virt, loam_irq_state irq)
    LOAM_RELEASES(space->locks) LOAM_UNCHECKED
{
    const uint64_t stripe = (virt >> pte_shift(2)) % LOAM_SPACE_STRIPES;
    loam_ticketlock_release_irq(&space->locks.stripe[stripe].lock, irq);
}

/* The entry of a small page, and the link of its table, if that has not to be made,
 * unlinked, split or merged: most of what is done to single pages. Found by what was
 * remembered, which stays while a stripe is held. @return false: take the long way */
struct paging_page {
    paging_word *link, *word;
    uint64_t linked, entry; /* as read */
};

static inline bool paging_page_locked(const struct loam_space *space, uint64_t virt,
                                      struct paging_page *page) LOAM_NEEDS(space->locks)
{
    const uint64_t table =
        paging_recent_untag(paging_load(&space->recent[paging_recent_index(virt)]), virt);

    if ((table & ~PTE_ADDRESS) != 0 || !paging_fits_tag(virt))
        return false;
    page->link = &paging_table(space, table)[pte_index(virt, 2)];
    page->linked = paging_load(page->link);
    if (!paging_is_link(space, page->linked) || (page->linked & PTE_WAS_SPLIT) != 0)
        return false;
    page->word = &paging_table(space, pte_table_phys(page->linked))[pte_index(virt, 1)];
    page->entry = paging_load(page->word);
    return true;
}

/* Entries from @p index on in a table of @p level that a range with @p left
 * bytes reaches, the first from its start. */
static inline unsigned paging_reach(unsigned level, unsigned index, uint64_t left)
{
    const uint64_t count = left >> pte_shift(level);
    const unsigned room = PTE_COUNT - index;

    return count < room ? (unsigned)count : room;
}

/* ---- without a lock ------------------------------------------------------ */

/* Remember the table of level 2 on the way. A stripe is held: it stays for now. */
static inline void paging_remember_locked(const struct paging_walk *walk)
    LOAM_NEEDS(walk->space->locks)
{
    struct loam_space *const space = walk->space;
    const uint64_t table = pte_table_phys(paging_load(paging_link_of(walk, 2)));
    const uint64_t word = table | paging_recent_tag(walk->virt);
    paging_word *const recent = &space->recent[paging_recent_index(walk->virt)];

    if (paging_load(recent) != word)
        paging_publish(recent, word);
}

/* It is unlinked: with all stripes, so nobody remembers it again. */
static inline void paging_forget_locked(struct loam_space *space, uint64_t virt)
    LOAM_NEEDS(space->locks)
{
    paging_store(&space->recent[paging_recent_index(virt)], 0);
}

/* The entry that decides about @p virt, at some moment since the call. One that never
 * was ours is returned as it is: the caller looks whether it is. */
static inline PAGING_UNSANITIZED struct paging_slot paging_look(const struct loam_space *space,
                                                                uint64_t virt)
{
    for (;;) {
        const uint64_t gone = atomic_load(&space->gone);
        const uint64_t recent = atomic_load(&space->recent[paging_recent_index(virt)]);
        const bool known = (recent & ~PTE_ADDRESS) == paging_recent_tag(virt);
        struct paging_slot slot;
        slot.level = known ? 2 : space->features.levels;
        slot.table = paging_table(space, known ? recent & PTE_ADDRESS : space->root.addr);
        for (;; slot.level--) {
            slot.index = pte_index(virt, slot.level);
            slot.entry = atomic_load(&slot.table[slot.index]);
            if (atomic_load(&space->gone) != gone)
                break; /* from the start */
            if (slot.level == 1 || !paging_is_link(space, slot.entry))
                return slot;
            paging_word *const below = paging_table(space, pte_table_phys(slot.entry));
            paging_require_below(slot.table, below, slot.entry, slot.level, slot.index);
            slot.table = below;
        }
    }
}

/* The same for small pages under a table of level 2 that is remembered: most of what is
 * asked for. @return the entry, present and ours; 0: look properly */
static inline PAGING_UNSANITIZED uint64_t paging_look_quickly(const struct loam_space *space,
                                                              uint64_t virt)
{
    const uint64_t gone = atomic_load(&space->gone);
    const uint64_t table =
        paging_recent_untag(atomic_load(&space->recent[paging_recent_index(virt)]), virt);

    if ((table & ~PTE_ADDRESS) != 0 || !paging_fits_tag(virt))
        return 0;
    const paging_word *const upper = paging_table(space, table);
    const uint64_t link = atomic_load(&upper[pte_index(virt, 2)]);
    if (!paging_is_link(space, link) || atomic_load(&space->gone) != gone)
        return 0;
    const paging_word *const lower = paging_table(space, pte_table_phys(link));
    const uint64_t entry = atomic_load(&lower[pte_index(virt, 1)]);
    if (lower == upper || !paging_is_page(space, entry) || atomic_load(&space->gone) != gone)
        return 0;
    return entry;
}

/* ---- tours --------------------------------------------------------------- */

/* A visit of all entries that are not zero, tables before what is in them. */
struct paging_tour {
    const struct loam_space *space;
    unsigned level; /* of the table we are in */
    paging_word *table[PTE_LEVEL_MAX + 1];
    unsigned index[PTE_LEVEL_MAX + 1]; /* next entry, by level */
    uint64_t entry, virt;              /* of the visit */
};

static inline void paging_tour_enter(struct paging_tour *tour, unsigned level, uint64_t phys)
{
    tour->level = level;
    tour->table[level] = paging_table(tour->space, phys);
    tour->index[level] = 0;
}

/* @return false: all were visited */
static inline bool paging_tour_next(struct paging_tour *tour)
{
    const unsigned levels = tour->space->features.levels;
    const unsigned top = pte_shift(levels + 1) - 1; /* the sign bit */

    while (tour->level <= levels) {
        if (tour->index[tour->level] == PTE_COUNT) {
            tour->level++; /* done here: go on in the table above */
            continue;
        }
        tour->entry = paging_load(&tour->table[tour->level][tour->index[tour->level]++]);
        if (tour->entry == 0)
            continue;
        tour->virt = 0;
        for (unsigned level = tour->level; level <= levels; level++)
            tour->virt |= (uint64_t)(tour->index[level] - 1) << pte_shift(level);
        if ((tour->virt >> top & 1) != 0)
            tour->virt |= UINT64_MAX << top;
        return true;
    }
    return false;
}

#endif
