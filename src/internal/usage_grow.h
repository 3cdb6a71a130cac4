/*
 * usage_grow.h - insertion into the tree of usage_tree.h. A full leaf is split
 * into halves, and so is each full node above it that has to take one more child;
 * above a full root comes a new one.
 *
 * The nodes for that are counted and reserved before anything changes. At most
 * the height and two: a leaf, an inner node for each level, a root.
 */
#ifndef LOAM_INTERNAL_USAGE_GROW_H
#define LOAM_INTERNAL_USAGE_GROW_H

#include "usage_tree.h"

/* Have the nodes for @p count more intervals at the path: 1 or 2, so that a leaf
 * is split at most once. */
static inline enum loam_status usage_make_room_locked(struct loam_usage *usage,
                                                      const struct usage_path *path, uint64_t count)
    LOAM_NEEDS(usage->lock)
{
    uint64_t inner_count = 0;

    if (path->leaf == NULL)
        return usage_reserve_locked(usage, 1, 0);
    if (path->leaf->count + count <= USAGE_LEAF_MAX)
        return LOAM_OK;
    while (inner_count < usage->height && path->step[inner_count].node->count == USAGE_INNER_MAX)
        inner_count++;
    if (inner_count == usage->height)
        inner_count++; /* a root above the root */
    return usage_reserve_locked(usage, 1, inner_count);
}

/* Move the upper half of the path's leaf to a new one. */
static struct usage_split usage_split_leaf_locked(struct loam_usage *usage,
                                                  const struct usage_path *path)
    LOAM_NEEDS(usage->lock)
{
    struct usage_leaf *left = path->leaf;
    struct usage_split split = { .right = usage_node_take_locked(usage, &usage->leaves) };
    struct usage_leaf *right = usage_leaf_at(usage, split.right);
    const uint64_t half = left->count / 2;

    usage_leaf_copy(right, 0, left, half, left->count - half);
    usage_leaf_end(right, left->count - half);
    usage_leaf_end(left, half);
    split.left_last = left->last[half - 1];
    split.left_largest = usage_leaf_largest(left, usage_leaf_low_locked(usage, path));
    split.right_largest = usage_leaf_largest(right, split.left_last + 1);
    return split;
}

/* Move the upper half of a full node to a new one, and give the half that has
 * child @p index the new half of that child, which was split itself. */
static struct usage_split usage_split_inner_locked(struct loam_usage *usage,
                                                   struct usage_inner *left, uint64_t index,
                                                   const struct usage_split *below)
    LOAM_NEEDS(usage->lock)
{
    struct usage_split split = { .right = usage_node_take_locked(usage, &usage->inners) };
    struct usage_inner *right = usage_inner_at(usage, split.right);
    const uint64_t half = left->count / 2;

    usage_inner_copy(right, 0, left, half, left->count - half);
    usage_inner_end(right, left->count - half);
    split.left_last = left->last[half - 1];
    usage_inner_end(left, half);
    if (index < half)
        usage_inner_insert(left, index, below);
    else
        usage_inner_insert(right, index - half, below);
    split.left_largest = usage_inner_largest(left);
    split.right_largest = usage_inner_largest(right);
    return split;
}

/* Put a new root above the old one, which was split. */
static void usage_grow_root_locked(struct loam_usage *usage, const struct usage_split *split)
    LOAM_NEEDS(usage->lock)
{
    const loam_phys root = usage_node_take_locked(usage, &usage->inners);
    struct usage_inner *inner = usage_inner_at(usage, root);

    LOAM_ASSERT(usage->height < LOAM_USAGE_HEIGHT_MAX);
    usage_inner_end(inner, 1);
    inner->child[0] = usage->root;
    usage_inner_insert(inner, 0, split);
    usage->root = root;
    usage->height++;
}

/* Split the path's full leaf, and what is full above it. The path is stale then. */
static void usage_split_locked(struct loam_usage *usage, const struct usage_path *path)
    LOAM_NEEDS(usage->lock)
{
    struct usage_split split = usage_split_leaf_locked(usage, path);

    for (uint64_t level = 0; level < usage->height; level++) {
        struct usage_inner *inner = path->step[level].node;
        const uint64_t index = path->step[level].index;
        if (inner->count < USAGE_INNER_MAX) {
            usage_inner_insert(inner, index, &split);
            return;
        }
        split = usage_split_inner_locked(usage, inner, index, &split);
    }
    usage_grow_root_locked(usage, &split);
}

/* Insert before the path's interval, into what was made room for. The path is at
 * the new interval then. */
static inline void usage_insert_locked(struct loam_usage *usage, struct usage_path *path,
                                       const struct usage_entry *entry) LOAM_NEEDS(usage->lock)
{
    if (path->leaf == NULL) {
        usage->root = usage_node_take_locked(usage, &usage->leaves);
        path->leaf = usage_leaf_at(usage, usage->root);
        usage_leaf_end(path->leaf, 0);
    } else if (path->leaf->count == USAGE_LEAF_MAX) {
        usage_split_locked(usage, path);
        usage_seek_locked(usage, entry->first, path);
    }

    struct usage_leaf *leaf = path->leaf;
    struct usage_largest gone = { 0, 0 };
    if (path->index < leaf->count)
        gone.gap = usage_gap_bytes(usage_entry_low_locked(usage, path), leaf->first[path->index]);
    usage_account_locked(usage, entry, 1);
    usage_leaf_insert(leaf, path->index, entry);
    usage_weigh_locked(usage, path, 0, gone, usage_around_locked(usage, path, entry));
}

#endif
