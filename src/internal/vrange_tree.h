/*
 * vrange_tree.h - the search tree under vrange.c, which alone includes it: ranges
 * of one window by address, and the largest gap in every part of it.
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

#include "digest.h"

/* Two rounds: one is a multiplication, under which some strides stay in order. */
static inline uint64_t vrange_priority(const struct loam_vrange_record *record)
{
    return loam_digest_add(loam_digest_add(LOAM_DIGEST_START, record->first), 0);
}

static inline uint64_t vrange_largest_of(const struct loam_vrange_record *record)
{
    uint64_t largest = record->gap;

    if (record->left != NULL && record->left->largest > largest)
        largest = record->left->largest;
    if (record->right != NULL && record->right->largest > largest)
        largest = record->right->largest;
    return largest;
}

/* ---- places -------------------------------------------------------------- */

/* The lowest record that ends above a page; the window's end, if none does. */
static inline struct loam_vrange_record *vrange_ends_above(struct loam_vrange_window *window,
                                                           uint64_t page)
{
    struct loam_vrange_record *root = window->root;
    struct loam_vrange_record *found = &window->end;

    while (root != NULL) { /* terminates: downwards */
        if (root->first + root->pages > page) {
            found = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return found;
}

static inline struct loam_vrange_record *vrange_lowest(struct loam_vrange_record *root)
{
    while (root->left != NULL) /* terminates: downwards */
        root = root->left;
    return root;
}

/* The first ancestor that lies higher; NULL if none does. */
static inline struct loam_vrange_record *vrange_higher_above(
    const struct loam_vrange_record *record)
{
    while (record->parent != NULL && record->parent->right == record)
        record = record->parent;
    return record->parent;
}

/* The record after this one; NULL after the end of the window. */
static inline struct loam_vrange_record *vrange_step(const struct loam_vrange_record *record)
{
    return record->right != NULL ? vrange_lowest(record->right) : vrange_higher_above(record);
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
        if (root->left != NULL && root->left->largest >= pages)
            root = root->left;
        else if (root->gap >= pages)
            return root;
        else
            root = root->right;
    }
}

/* The next record with a gap of a least size; NULL if there is none. */
static inline struct loam_vrange_record *vrange_next_fit(struct loam_vrange_record *record,
                                                         uint64_t pages)
{
    do { /* terminates: each turn goes up */
        if (record->right != NULL && record->right->largest >= pages)
            return vrange_lowest_fit(record->right, pages);
        record = vrange_higher_above(record);
    } while (record != NULL && record->gap < pages);
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
        window->root = now;
    else if (parent->left == was)
        parent->left = now;
    else
        parent->right = now;
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
    if (parent->left == record) {
        between = record->right;
        parent->left = between;
        record->right = parent;
    } else {
        between = record->left;
        parent->right = between;
        record->left = parent;
    }
    parent->parent = record;
    if (between != NULL)
        between->parent = parent;
    record->largest = parent->largest;
    parent->largest = vrange_largest_of(parent);
}

/* Insert into the gap before @p after. The record has its pages, which lie there. */
static void vrange_insert(struct loam_vrange_window *window, struct loam_vrange_record *record,
                          struct loam_vrange_record *after)
{
    struct loam_vrange_record *parent = after;

    record->left = NULL;
    record->right = NULL;
    record->gap = record->first - (after->first - after->gap);
    record->largest = record->gap;
    after->gap = after->first - (record->first + record->pages);
    if (after->left == NULL) {
        after->left = record;
    } else {
        for (parent = after->left; parent->right != NULL;) /* terminates: downwards */
            parent = parent->right;
        parent->right = record;
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
static void vrange_remove(struct loam_vrange_window *window, struct loam_vrange_record *record)
{
    struct loam_vrange_record *after = vrange_after(window, record);

    after->gap += record->pages + record->gap;
    vrange_weigh(after);
    while (record->left != NULL && record->right != NULL) /* terminates: it goes down */
        vrange_rotate_up(window, vrange_priority(record->left) > vrange_priority(record->right)
                                     ? record->left
                                     : record->right);
    vrange_replace(window, record, record->left != NULL ? record->left : record->right);
    vrange_weigh(record->parent);
}

#endif
