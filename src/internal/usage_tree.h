/*
 * usage_tree.h - the storage under usage.c, which alone includes it: a B+tree of
 * intervals.
 *
 *     height 2                 [ inner )                   step[1]
 *                       [ inner )      [ inner )           step[0]
 *                   [ leaf )[ leaf ) [ leaf )[ leaf )      leaf
 *
 * All leaves are at one depth. Each node but the root is at least half full.
 * Three primitives change it: an interval becomes another in place, one is
 * inserted (usage_tree_grow.h has what splits), a run is removed
 * (usage_tree_shrink.h has what merges). After each the tree is whole again:
 * counts, keys, and what is largest in every subtree.
 *
 * A path is a place in the tree, with all nodes above it. Nothing recurses; loops
 * over levels are bounded by the height.
 */
#ifndef LOAM_INTERNAL_USAGE_TREE_H
#define LOAM_INTERNAL_USAGE_TREE_H

#include <loam/usage.h>

#include "usage_node.h"
#include "usage_pool.h"

struct usage_step {
    struct usage_inner *node;
    uint64_t index; /* of the child that the path goes through */
};

struct usage_path {
    struct usage_leaf *leaf; /* NULL only in an empty map */
    uint64_t index;          /* in the leaf; its count only at the end of the map */
    struct usage_step step[LOAM_USAGE_HEIGHT_MAX]; /* [0] above the leaf; height of them */
};

/* ---- places -------------------------------------------------------------- */

/* Search a leaf. The rest of it is asked for before the search says where in it. */
static inline uint64_t usage_leaf_search(const struct usage_leaf *leaf, uint64_t at)
{
    for (unsigned i = 0; i < USAGE_LEAF_MAX; i += 8)
        __builtin_prefetch(&leaf->first[i]);
    __builtin_prefetch(&leaf->owner[0]);
    return usage_leaf_index(leaf, at);
}

/* The first interval that ends at or above @p at, or the end of the map. */
static inline void usage_seek_locked(const struct loam_usage *usage, uint64_t at,
                                     struct usage_path *path) LOAM_NEEDS(usage->lock)
{
    loam_phys node = usage->root;

    path->leaf = NULL;
    path->index = 0;
    if (loam_phys_is_none(node))
        return;
    for (uint64_t level = usage->height; level > 0; level--) {
        struct usage_inner *inner = usage_inner_at(usage, node);
        const uint64_t index = usage_inner_index(inner, at);
        path->step[level - 1].node = inner;
        path->step[level - 1].index = index;
        __builtin_prefetch(&inner->largest[index]); /* a change will look at it */
        node = inner->child[index];
    }
    path->leaf = usage_leaf_at(usage, node);
    path->index = usage_leaf_search(path->leaf, at);
}

/* The same for who asks for one interval and goes nowhere from there. @return
 * false: there is none */
static inline bool usage_get_locked(const struct loam_usage *usage, uint64_t at,
                                    struct usage_entry *out) LOAM_NEEDS(usage->lock)
{
    loam_phys node = usage->root;

    if (loam_phys_is_none(node))
        return false;
    for (uint64_t level = usage->height; level > 0; level--) {
        const struct usage_inner *inner = usage_inner_at(usage, node);
        node = inner->child[usage_inner_index(inner, at)];
    }
    const struct usage_leaf *leaf = usage_leaf_at(usage, node);
    const uint64_t index = usage_leaf_search(leaf, at);
    if (index == leaf->count)
        return false;
    *out = usage_leaf_entry(leaf, index);
    return true;
}

/* Is there an interval at the path? */
static inline bool usage_has_entry(const struct usage_path *path)
{
    return path->leaf != NULL && path->index < path->leaf->count;
}

/* The address after the last interval before child @p index of the node at
 * step[level]: the lowest that the child can hold. 0: there is no such interval. */
static uint64_t usage_child_low_locked(const struct loam_usage *usage,
                                       const struct usage_path *path, uint64_t level,
                                       uint64_t index) LOAM_NEEDS(usage->lock)
{
    for (; level < usage->height; level++) {
        if (index > 0)
            return path->step[level].node->last[index - 1] + 1;
        index = level + 1 < usage->height ? path->step[level + 1].index : 0;
    }
    return 0;
}

/* The same for the path's leaf, and for its interval. */
static inline uint64_t usage_leaf_low_locked(const struct loam_usage *usage,
                                             const struct usage_path *path) LOAM_NEEDS(usage->lock)
{
    return usage->height == 0 ? 0 : usage_child_low_locked(usage, path, 0, path->step[0].index);
}

static inline uint64_t usage_entry_low_locked(const struct loam_usage *usage,
                                              const struct usage_path *path) LOAM_NEEDS(usage->lock)
{
    return path->index > 0 ? path->leaf->last[path->index - 1] + 1
                           : usage_leaf_low_locked(usage, path);
}

/* First child from @p index on that may hold what is wanted; the count if none does. */
static inline uint64_t usage_inner_find(const struct usage_inner *inner, uint64_t index,
                                        struct usage_largest least)
{
    while (index < inner->count &&
           (inner->largest[index].gap < least.gap || inner->largest[index].usable < least.usable))
        index++;
    return index;
}

/*
 * To the first interval of the next leaf in which there may be a gap, or a USABLE
 * interval, of a least size. One of the two sizes is 0, which all leaves have: so
 * where a node has it, one of its children does.
 *
 * @return false: there is no such leaf; the path is as it was
 */
static bool usage_next_leaf_locked(const struct loam_usage *usage, struct usage_path *path,
                                   struct usage_largest least) LOAM_NEEDS(usage->lock)
{
    uint64_t level = 0;
    uint64_t index = 0;

    for (; level < usage->height; level++) {
        index = usage_inner_find(path->step[level].node, path->step[level].index + 1, least);
        if (index < path->step[level].node->count)
            break;
    }
    if (level == usage->height)
        return false;
    path->step[level].index = index;
    for (; level > 0; level--) {
        struct usage_inner *inner =
            usage_inner_at(usage, path->step[level].node->child[path->step[level].index]);
        path->step[level - 1].node = inner;
        path->step[level - 1].index = usage_inner_find(inner, 0, least);
    }
    path->leaf = usage_leaf_at(usage, path->step[0].node->child[path->step[0].index]);
    path->index = 0;
    return true;
}

/* To the next interval, or to the end of the map. There is one at the path. */
static inline void usage_step_locked(const struct loam_usage *usage, struct usage_path *path)
    LOAM_NEEDS(usage->lock)
{
    static const struct usage_largest any = { 0, 0 };

    path->index++;
    if (path->index == path->leaf->count)
        (void)usage_next_leaf_locked(usage, path, any);
}

/* The interval after the one at the path. @return false: there is none */
static inline bool usage_peek_locked(const struct loam_usage *usage, const struct usage_path *path,
                                     struct usage_entry *out) LOAM_NEEDS(usage->lock)
{
    if (path->index + 1 < path->leaf->count) {
        *out = usage_leaf_entry(path->leaf, path->index + 1);
        return true;
    }
    struct usage_path next = *path;
    usage_step_locked(usage, &next);
    if (!usage_has_entry(&next))
        return false;
    *out = usage_leaf_entry(next.leaf, next.index);
    return true;
}

/* ---- what the nodes above know ------------------------------------------- */

/* Count one interval in (sign 1) or out (sign -1). */
static inline void usage_account_locked(struct loam_usage *usage, const struct usage_entry *entry,
                                        uint64_t sign) LOAM_NEEDS(usage->lock)
{
    usage->interval_count += sign;
    usage->owner_count[entry->owner] += sign;
    usage->total_bytes[entry->owner] += sign * (entry->last - entry->first + 1);
}

/* The last byte under the node at step[level - 1], or of the leaf at level 0, is
 * @p last now. */
static void usage_set_last_locked(const struct loam_usage *usage, const struct usage_path *path,
                                  uint64_t level, uint64_t last) LOAM_NEEDS(usage->lock)
{
    for (; level < usage->height; level++) {
        const struct usage_step *step = &path->step[level];
        if (step->index + 1 < step->node->count) {
            step->node->last[step->index] = last;
            return;
        }
    }
}

/* What is largest below step[level]: looks at all of one node. */
static inline uint64_t usage_gap_below_locked(const struct loam_usage *usage,
                                              const struct usage_path *path, uint64_t level)
    LOAM_NEEDS(usage->lock)
{
    return level == 0 ? usage_leaf_gap(path->leaf, usage_leaf_low_locked(usage, path))
                      : usage_inner_largest(path->step[level - 1].node).gap;
}

static inline uint64_t usage_usable_below(const struct usage_path *path, uint64_t level)
{
    return level == 0 ? usage_leaf_usable(path->leaf)
                      : usage_inner_largest(path->step[level - 1].node).usable;
}

/*
 * Below step[level] the sizes @p gone went and @p come came. Goes up as far as
 * that changes what is largest, and looks at all of a node only where the largest
 * itself went.
 */
static inline void usage_weigh_locked(const struct loam_usage *usage, const struct usage_path *path,
                                      uint64_t level, struct usage_largest gone,
                                      struct usage_largest come) LOAM_NEEDS(usage->lock)
{
    for (; level < usage->height; level++) {
        const struct usage_step *step = &path->step[level];
        const struct usage_largest was = step->node->largest[step->index];
        struct usage_largest now = usage_largest_of(was, come);
        if (gone.gap == was.gap && come.gap < was.gap)
            now.gap = usage_gap_below_locked(usage, path, level);
        if (gone.usable == was.usable && come.usable < was.usable)
            now.usable = usage_usable_below(path, level);
        if (now.gap == was.gap && now.usable == was.usable)
            return;
        step->node->largest[step->index] = now;
        gone = was;
        come = now;
    }
}

/* Anything may have changed below step[level]. */
static void usage_weigh_anew_locked(const struct loam_usage *usage, const struct usage_path *path,
                                    uint64_t level) LOAM_NEEDS(usage->lock)
{
    if (level >= usage->height)
        return;
    const struct usage_largest was = path->step[level].node->largest[path->step[level].index];
    const struct usage_largest now = { usage_gap_below_locked(usage, path, level),
                                       usage_usable_below(path, level) };
    usage_weigh_locked(usage, path, level, was, now);
}

/* The gap before the path's interval was @p before bytes; that has changed. */
static void usage_weigh_gap_locked(const struct loam_usage *usage, const struct usage_path *path,
                                   uint64_t before) LOAM_NEEDS(usage->lock)
{
    const uint64_t low = usage_entry_low_locked(usage, path);
    const struct usage_largest gone = { before, 0 };
    const struct usage_largest come = { usage_gap_bytes(low, path->leaf->first[path->index]), 0 };

    usage_weigh_locked(usage, path, 0, gone, come);
}

/* ---- in place ------------------------------------------------------------ */

/* Gaps on both sides of an interval at the path, and itself if it is USABLE. The
 * gap above counts here only if this leaf knows it. */
static inline struct usage_largest usage_around_locked(const struct loam_usage *usage,
                                                       const struct usage_path *path,
                                                       const struct usage_entry *entry)
    LOAM_NEEDS(usage->lock)
{
    const struct usage_largest below = {
        usage_gap_bytes(usage_entry_low_locked(usage, path), entry->first),
        usage_usable_bytes(entry),
    };
    struct usage_largest above = { 0, 0 };

    if (path->index + 1 < path->leaf->count)
        above.gap = usage_gap_bytes(entry->last + 1, path->leaf->first[path->index + 1]);
    return usage_largest_of(below, above);
}

/* The interval at the path becomes another, which keeps its place among the rest. */
static void usage_set_locked(struct loam_usage *usage, const struct usage_path *path,
                             const struct usage_entry *entry) LOAM_NEEDS(usage->lock)
{
    struct usage_leaf *leaf = path->leaf;
    const struct usage_entry was = usage_leaf_entry(leaf, path->index);
    const struct usage_largest gone = usage_around_locked(usage, path, &was);
    const struct usage_largest come = usage_around_locked(usage, path, entry);

    if (entry->owner == was.owner) {
        usage->total_bytes[was.owner] += (entry->last - entry->first) - (was.last - was.first);
    } else {
        usage_account_locked(usage, &was, UINT64_MAX);
        usage_account_locked(usage, entry, 1);
    }
    usage_leaf_put(leaf, path->index, entry);
    usage_weigh_locked(usage, path, 0, gone, come);
    if (path->index + 1 == leaf->count && entry->last != was.last) {
        struct usage_path next = *path;
        usage_set_last_locked(usage, path, 0, entry->last);
        usage_step_locked(usage, &next);
        if (usage_has_entry(&next)) /* the gap above is the next leaf's */
            usage_weigh_gap_locked(usage, &next,
                                   usage_gap_bytes(was.last + 1, next.leaf->first[next.index]));
    }
}

#endif
