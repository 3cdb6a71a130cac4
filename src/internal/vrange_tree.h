/*
 * vrange_tree.h - the search tree under vrange: ranges of one window by address, and
 * the largest gap in every part of it. Shared by the sources of vrange.
 *
 *     window  [  gap  [ A )[ B ) gap [ C )   gap   )end
 *
 * A treap: each record is above those of lower priority, and the priority is a hash
 * of its address, so the expected depth is O(log ranges) whatever the order of
 * insertions. A gap counts for the record after it; the window's end is a record
 * without pages. Invariants, besides order and priority:
 *
 *     first - gap = the end of the record before, or the start of the window
 *     largest     = max(gap, left->largest, right->largest)
 *
 * Nothing allocates, nothing recurses; loops run along one path.
 */
#ifndef LOAM_INTERNAL_VRANGE_TREE_H
#define LOAM_INTERNAL_VRANGE_TREE_H

#include <loam/vrange.h>

#include <stdatomic.h>

#include "digest.h"

/* ---- fields -------------------------------------------------------------- */

/*
 * loam_vrange_peek() reads while others write. Each store is a release, each load an
 * acquire at least: so who reads something of a change finds, when he looks again, that
 * the version is another.
 */
static inline void vrange_set(_Atomic(uint64_t) *field, uint64_t value)
{
    atomic_store_explicit(field, value, memory_order_release);
}

static inline void vrange_point(_Atomic(struct loam_vrange_record *) *link,
                                struct loam_vrange_record *to)
{
    atomic_store_explicit(link, to, memory_order_release);
}

static inline struct loam_vrange_record *vrange_left(const struct loam_vrange_record *record)
{
    return atomic_load(&record->left);
}

static inline struct loam_vrange_record *vrange_right(const struct loam_vrange_record *record)
{
    return atomic_load(&record->right);
}

static inline struct loam_vrange_record *vrange_root(const struct loam_vrange_window *window)
{
    return atomic_load(&window->root);
}

static inline uint64_t vrange_first(const struct loam_vrange_record *record)
{
    return atomic_load(&record->first);
}

static inline uint64_t vrange_gap(const struct loam_vrange_record *record)
{
    return atomic_load(&record->gap);
}

static inline uint64_t vrange_pages(const struct loam_vrange_record *record)
{
    return atomic_load(&record->pages);
}

static inline uint64_t vrange_end(const struct loam_vrange_record *record)
{
    return vrange_first(record) + vrange_pages(record);
}

/*
 * What changes as one:
 *
 *     shape   | state 63..48 | tag 47..32 | guard after 31..16 | guard before 15..0 |
 */
static inline uint64_t vrange_shape_of(uint64_t guard_before, uint64_t guard_after, uint16_t tag,
                                       enum loam_vrange_state state)
{
    return guard_before | guard_after << 16 | (uint64_t)tag << 32 | (uint64_t)state << 48;
}

static inline uint64_t vrange_guard_before(uint64_t shape)
{
    return shape & 0xffff;
}

static inline uint64_t vrange_guard_after(uint64_t shape)
{
    return shape >> 16 & 0xffff;
}

static inline uint16_t vrange_tag(uint64_t shape)
{
    return (uint16_t)(shape >> 32);
}

static inline enum loam_vrange_state vrange_state(uint64_t shape)
{
    return (enum loam_vrange_state)(shape >> 48);
}

static inline enum loam_vrange_state vrange_state_of(const struct loam_vrange_record *record)
{
    return vrange_state(atomic_load(&record->shape));
}

static inline void vrange_set_state(struct loam_vrange_record *record, enum loam_vrange_state state)
{
    const uint64_t rest = atomic_load(&record->shape) & ((UINT64_C(1) << 48) - 1);

    vrange_set(&record->shape, rest | (uint64_t)state << 48);
}

/* What lies between the guards. */
static inline uint64_t vrange_usable_first(const struct loam_vrange_record *record)
{
    return vrange_first(record) + vrange_guard_before(atomic_load(&record->shape));
}

static inline uint64_t vrange_usable_pages(const struct loam_vrange_record *record)
{
    const uint64_t shape = atomic_load(&record->shape);

    return vrange_pages(record) - vrange_guard_before(shape) - vrange_guard_after(shape);
}

static inline loam_virt vrange_address(uint64_t page)
{
    return loam_virt_at(page << LOAM_PAGE_SHIFT);
}

static inline uint64_t vrange_page(loam_virt at)
{
    return at.addr >> LOAM_PAGE_SHIFT;
}

/* A record as the caller knows it. */
static inline struct loam_vrange_info vrange_info_of(const struct loam_vrange_record *record)
{
    const uint64_t shape = atomic_load(&record->shape); /* before the name that goes with it */
    const uint64_t first = vrange_first(record) + vrange_guard_before(shape);
    const uint64_t pages =
        vrange_pages(record) - vrange_guard_before(shape) - vrange_guard_after(shape);
    const char *const name = atomic_load(&record->name);
    const struct loam_vrange_info info = {
        .range = loam_virt_range_of(vrange_address(first), pages << LOAM_PAGE_SHIFT),
        .guard_before = vrange_guard_before(shape),
        .guard_after = vrange_guard_after(shape),
        .name = vrange_state(shape) == LOAM_VRANGE_CACHED ? "free" : name,
        .state = vrange_state(shape),
        .tag = vrange_tag(shape),
    };
    return info;
}

/* Around every change of a tree, with the lock held. */
static inline void vrange_change_begin(struct loam_vrange *vrange)
{
    vrange_set(&vrange->version, atomic_load(&vrange->version) + 1);
}

static inline void vrange_change_end(struct loam_vrange *vrange)
{
    vrange_set(&vrange->version, atomic_load(&vrange->version) + 1);
}

/* The window that a page lies in; NULL: in none. */
static inline const struct loam_vrange_window *vrange_window_of(const struct loam_vrange *vrange,
                                                                uint64_t page)
{
    const unsigned count = atomic_load(&vrange->window_count);

    for (unsigned i = 0; i < count; i++) {
        const struct loam_vrange_window *window = &vrange->window[i];
        if (page >= window->first && page < vrange_first(&window->end))
            return window;
    }
    return NULL;
}

/* ---- order ---------------------------------------------------------------- */

/* Two rounds: one is a multiplication, under which some strides stay in order. */
static inline uint64_t vrange_priority(const struct loam_vrange_record *record)
{
    return loam_digest_add(loam_digest_add(LOAM_DIGEST_START, vrange_first(record)), 0);
}

static inline uint64_t vrange_largest_of(const struct loam_vrange_record *record)
{
    const struct loam_vrange_record *const left = vrange_left(record);
    const struct loam_vrange_record *const right = vrange_right(record);
    uint64_t largest = vrange_gap(record);

    if (left != NULL && left->largest > largest)
        largest = left->largest;
    if (right != NULL && right->largest > largest)
        largest = right->largest;
    return largest;
}

/* ---- places -------------------------------------------------------------- */

/* The lowest record that ends above a page; the window's end, if none does. */
static inline struct loam_vrange_record *vrange_ends_above(struct loam_vrange_window *window,
                                                           uint64_t page)
{
    struct loam_vrange_record *root = vrange_root(window);
    struct loam_vrange_record *found = &window->end;

    while (root != NULL) { /* terminates: downwards */
        if (vrange_end(root) > page) {
            found = root;
            root = vrange_left(root);
        } else {
            root = vrange_right(root);
        }
    }
    return found;
}

static inline struct loam_vrange_record *vrange_lowest(struct loam_vrange_record *root)
{
    while (vrange_left(root) != NULL) /* terminates: downwards */
        root = vrange_left(root);
    return root;
}

/* The first ancestor that lies higher; NULL if none does. */
static inline struct loam_vrange_record *vrange_higher_above(
    const struct loam_vrange_record *record)
{
    while (record->parent != NULL && vrange_right(record->parent) == record)
        record = record->parent;
    return record->parent;
}

/* The record after this one; NULL after the end of the window. */
static inline struct loam_vrange_record *vrange_step(const struct loam_vrange_record *record)
{
    return vrange_right(record) != NULL ? vrange_lowest(vrange_right(record))
                                        : vrange_higher_above(record);
}

/* The same of a range, which is not the last record. */
static inline struct loam_vrange_record *vrange_after(struct loam_vrange_window *window,
                                                      const struct loam_vrange_record *range)
{
    struct loam_vrange_record *next = vrange_step(range);

    return next != NULL ? next : &window->end;
}

/* The lowest record of this part with a gap of a least size. There is one. */
static inline struct loam_vrange_record *vrange_lowest_fit(struct loam_vrange_record *root,
                                                           uint64_t pages)
{
    for (;;) { /* terminates: downwards, to where the largest gap comes from */
        if (vrange_left(root) != NULL && vrange_left(root)->largest >= pages)
            root = vrange_left(root);
        else if (vrange_gap(root) >= pages)
            return root;
        else
            root = vrange_right(root);
    }
}

/* The next record with a gap of a least size; NULL if there is none. */
static inline struct loam_vrange_record *vrange_next_fit(struct loam_vrange_record *record,
                                                         uint64_t pages)
{
    do { /* terminates: each turn goes up */
        if (vrange_right(record) != NULL && vrange_right(record)->largest >= pages)
            return vrange_lowest_fit(vrange_right(record), pages);
        record = vrange_higher_above(record);
    } while (record != NULL && vrange_gap(record) < pages);
    return record;
}

/* ---- changes ------------------------------------------------------------- */

/* From a record upwards, as far as what is largest changes. */
static inline void vrange_weigh(struct loam_vrange_record *record)
{
    for (; record != NULL; record = record->parent) {
        const uint64_t largest = vrange_largest_of(record);
        if (largest == record->largest)
            return;
        record->largest = largest;
    }
}

/* Whatever pointed to @p was points to @p now, which may be NULL. */
static inline void vrange_replace(struct loam_vrange_window *window,
                                  const struct loam_vrange_record *was,
                                  struct loam_vrange_record *now)
{
    struct loam_vrange_record *parent = was->parent;

    if (parent == NULL)
        vrange_point(&window->root, now);
    else if (vrange_left(parent) == was)
        vrange_point(&parent->left, now);
    else
        vrange_point(&parent->right, now);
    if (now != NULL)
        now->parent = parent;
}

/*
 * Let a record and its parent change places:
 *
 *          parent             record
 *         /      \           /      \
 *     record      c   <=>   a      parent
 *     /    \                       /    \
 *    a      b                     b      c
 */
static inline void vrange_rotate_up(struct loam_vrange_window *window,
                                    struct loam_vrange_record *record)
{
    struct loam_vrange_record *parent = record->parent;
    struct loam_vrange_record *between;

    vrange_replace(window, parent, record);
    if (vrange_left(parent) == record) {
        between = vrange_right(record);
        vrange_point(&parent->left, between);
        vrange_point(&record->right, parent);
    } else {
        between = vrange_left(record);
        vrange_point(&parent->right, between);
        vrange_point(&record->left, parent);
    }
    parent->parent = record;
    if (between != NULL)
        between->parent = parent;
    record->largest = parent->largest;
    parent->largest = vrange_largest_of(parent);
}

/* Insert into the gap before @p after. The record has its pages, which lie there. */
static inline void vrange_insert(struct loam_vrange_window *window,
                                 struct loam_vrange_record *record,
                                 struct loam_vrange_record *after)
{
    struct loam_vrange_record *parent = after;

    vrange_point(&record->left, NULL);
    vrange_point(&record->right, NULL);
    record->largest = vrange_first(record) - (vrange_first(after) - vrange_gap(after));
    vrange_set(&record->gap, record->largest);
    vrange_set(&after->gap, vrange_first(after) - vrange_end(record));
    if (vrange_left(after) == NULL) {
        vrange_point(&after->left, record);
    } else {
        for (parent = vrange_left(after); vrange_right(parent) != NULL;) /* terminates: downwards */
            parent = vrange_right(parent);
        vrange_point(&parent->right, record);
    }
    record->parent = parent;
    for (; parent != after; parent = parent->parent)
        parent->largest = vrange_largest_of(parent);
    vrange_weigh(after);

    const uint64_t priority = vrange_priority(record);
    while (record->parent != NULL && vrange_priority(record->parent) < priority)
        vrange_rotate_up(window, record);
}

/* Remove a record; its pages, and the gap before it, go to the gap after it. */
static inline void vrange_remove(struct loam_vrange_window *window,
                                 struct loam_vrange_record *record)
{
    struct loam_vrange_record *after = vrange_after(window, record);

    vrange_set(&after->gap, vrange_gap(after) + vrange_pages(record) + vrange_gap(record));
    vrange_weigh(after);
    for (;;) { /* terminates: it goes down */
        struct loam_vrange_record *const left = vrange_left(record);
        struct loam_vrange_record *const right = vrange_right(record);
        if (left == NULL || right == NULL) {
            vrange_replace(window, record, left != NULL ? left : right);
            break;
        }
        vrange_rotate_up(window, vrange_priority(left) > vrange_priority(right) ? left : right);
    }
    vrange_weigh(record->parent);
}

#endif
