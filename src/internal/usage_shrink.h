/*
 * usage_shrink.h - removal from the tree of usage_tree.h. A node that becomes less
 * than half full takes from a neighbour, or is merged with it; a leaf that
 * becomes empty is freed as a whole; a root with one child gives its place to it.
 */
#ifndef LOAM_INTERNAL_USAGE_SHRINK_H
#define LOAM_INTERNAL_USAGE_SHRINK_H

#include "usage_tree.h"

/* Let children @p left and the next of the node at step[0], leaves, be half full.
 * @return true: they are one leaf now */
static bool usage_balance_leaves_locked(struct loam_usage *usage, const struct usage_path *path,
                                        uint64_t left) LOAM_NEEDS(usage->lock)
{
    struct usage_inner *parent = path->step[0].node;
    const loam_phys right_node = parent->child[left + 1];
    struct usage_leaf *a = usage_leaf_at(usage, parent->child[left]);
    struct usage_leaf *b = usage_leaf_at(usage, right_node);
    const uint64_t all = a->count + b->count;
    const bool merged = all <= USAGE_LEAF_MAX;

    usage_leaf_share(a, b, merged ? all : all / 2);
    parent->largest[left] = usage_leaf_largest(a, usage_child_low_locked(usage, path, 0, left));
    if (merged) {
        parent->last[left] = parent->last[left + 1];
        usage_inner_remove(parent, left + 1);
        usage_node_put_locked(usage, &usage->leaves, usage_leaf_kind(), right_node);
    } else {
        parent->last[left] = a->last[a->count - 1];
        parent->largest[left + 1] = usage_leaf_largest(b, parent->last[left] + 1);
    }
    return merged;
}

/* The same for children of the node @p parent that are inner nodes. */
static bool usage_balance_inners_locked(struct loam_usage *usage, struct usage_inner *parent,
                                        uint64_t left) LOAM_NEEDS(usage->lock)
{
    const loam_phys right_node = parent->child[left + 1];
    struct usage_inner *a = usage_inner_at(usage, parent->child[left]);
    struct usage_inner *b = usage_inner_at(usage, right_node);
    const uint64_t all = a->count + b->count;
    const bool merged = all <= USAGE_INNER_MAX;
    const uint64_t last = usage_inner_share(a, b, merged ? all : all / 2, parent->last[left]);

    parent->largest[left] = usage_inner_largest(a);
    if (merged) {
        parent->last[left] = parent->last[left + 1];
        usage_inner_remove(parent, left + 1);
        usage_node_put_locked(usage, &usage->inners, usage_inner_kind(), right_node);
    } else {
        parent->last[left] = last;
        parent->largest[left + 1] = usage_inner_largest(b);
    }
    return merged;
}

/* A root with one child is none. */
static void usage_shrink_root_locked(struct loam_usage *usage) LOAM_NEEDS(usage->lock)
{
    while (usage->height > 0) { /* terminates: the height decreases */
        const struct usage_inner *root = usage_inner_at(usage, usage->root);
        const loam_phys old = usage->root;
        if (root->count > 1)
            return;
        usage->root = root->child[0];
        usage->height--;
        usage_node_put_locked(usage, &usage->inners, usage_inner_kind(), old);
    }
}

/* Fill up what has become less than half full, from @p level on: 0 is the path's
 * leaf, 1 the node at step[0]. */
static void usage_rebalance_locked(struct loam_usage *usage, const struct usage_path *path,
                                   uint64_t level) LOAM_NEEDS(usage->lock)
{
    for (; level < usage->height; level++) {
        const struct usage_step *above = &path->step[level];
        const uint64_t left = above->index > 0 ? above->index - 1 : 0;
        const bool enough = level == 0 ? path->leaf->count >= USAGE_LEAF_MIN
                                       : path->step[level - 1].node->count >= USAGE_INNER_MIN;
        if (enough || !(level == 0 ? usage_balance_leaves_locked(usage, path, left)
                                   : usage_balance_inners_locked(usage, above->node, left)))
            break;
    }
    usage_shrink_root_locked(usage);
}

/* The path's interval and the next, which has the same owner and is in the same
 * leaf, become one with all between them. */
static inline void usage_join_locked(struct loam_usage *usage, const struct usage_path *path)
    LOAM_NEEDS(usage->lock)
{
    struct usage_leaf *leaf = path->leaf;
    const struct usage_entry below = usage_leaf_entry(leaf, path->index);
    const struct usage_entry above = usage_leaf_entry(leaf, path->index + 1);
    const struct usage_entry whole = { below.first, above.last, below.owner };
    const uint64_t gap = usage_gap_bytes(below.last + 1, above.first);
    const struct usage_largest gone = { gap, usage_greater(usage_usable_bytes(&below),
                                                           usage_usable_bytes(&above)) };
    const struct usage_largest come = { 0, usage_usable_bytes(&whole) };

    usage->interval_count--;
    usage->owner_count[whole.owner]--;
    usage->total_bytes[whole.owner] += gap;
    usage_leaf_remove(leaf, path->index + 1, 1);
    usage_leaf_put(leaf, path->index, &whole); /* whose last byte is still the highest */
    usage_weigh_locked(usage, path, 0, gone, come);
    if (leaf->count < USAGE_LEAF_MIN)
        usage_rebalance_locked(usage, path, 0);
}

/* Free the path's leaf with all that is in it. */
static void usage_drop_leaf_locked(struct loam_usage *usage, const struct usage_path *path)
    LOAM_NEEDS(usage->lock)
{
    if (usage->height == 0) {
        usage_node_put_locked(usage, &usage->leaves, usage_leaf_kind(), usage->root);
        usage->root = loam_phys_none();
        return;
    }
    struct usage_inner *parent = path->step[0].node;
    const uint64_t index = path->step[0].index;
    const uint64_t last = parent->last[index > 0 ? index - 1 : 0]; /* of the leaf before */
    usage_node_put_locked(usage, &usage->leaves, usage_leaf_kind(), parent->child[index]);
    usage_inner_remove(parent, index);
    if (index == parent->count)
        usage_set_last_locked(usage, path, 1, last);
    usage_weigh_anew_locked(usage, path, 1);
}

/* Remove @p count intervals of the path's leaf. */
static void usage_remove_here_locked(struct loam_usage *usage, const struct usage_path *path,
                                     uint64_t count) LOAM_NEEDS(usage->lock)
{
    struct usage_leaf *leaf = path->leaf;
    const bool whole = count == leaf->count;
    const uint64_t from = leaf->first[path->index];
    struct usage_path next;

    for (uint64_t i = path->index; i < path->index + count; i++) {
        const struct usage_entry entry = usage_leaf_entry(leaf, i);
        usage_account_locked(usage, &entry, UINT64_MAX);
    }
    if (whole) {
        usage_drop_leaf_locked(usage, path);
    } else {
        usage_leaf_remove(leaf, path->index, count);
        if (path->index == leaf->count)
            usage_set_last_locked(usage, path, 0, leaf->last[leaf->count - 1]);
        usage_weigh_anew_locked(usage, path, 0);
    }
    usage_seek_locked(usage, from, &next);
    if (usage_has_entry(&next) && next.leaf != leaf) /* the gap before it has grown */
        usage_weigh_anew_locked(usage, &next, 0);
    usage_rebalance_locked(usage, path, whole ? 1 : 0);
}

/* Remove @p count intervals, from the first that ends at or above @p at. */
static void usage_remove_locked(struct loam_usage *usage, uint64_t at, uint64_t count)
    LOAM_NEEDS(usage->lock)
{
    while (count > 0) { /* terminates: a leaf has one interval at least */
        struct usage_path path;
        usage_seek_locked(usage, at, &path);
        const uint64_t rest = path.leaf->count - path.index;
        const uint64_t here = count < rest ? count : rest;
        usage_remove_here_locked(usage, &path, here);
        count -= here;
    }
}

#endif
