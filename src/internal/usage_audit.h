/*
 * usage_audit.h - is the tree of usage_tree.h whole? What usage.c's audit visits.
 *
 * The walk goes from leaf to leaf with a path of its own and trusts nothing: no
 * address before it was found to be a node of the right kind in a frame, no count
 * before it was found in range, and no more nodes than were counted.
 */
#ifndef LOAM_INTERNAL_USAGE_AUDIT_H
#define LOAM_INTERNAL_USAGE_AUDIT_H

#include "usage_tree.h"

/* What the walk has seen, to be compared with what was counted. */
struct usage_tally {
    uint64_t leaf_count, inner_count;
    uint64_t interval_count;
    uint64_t total_bytes[LOAM_OWNERS];
    uint64_t owner_count[LOAM_OWNERS];
    uint64_t low; /* address after the last interval so far; 0: none, or it ends at 2^64 */
};

struct usage_walk {
    const struct usage_inner *inner[LOAM_USAGE_HEIGHT_MAX]; /* [0] above the leaf */
    uint64_t index[LOAM_USAGE_HEIGHT_MAX];                  /* of the child walked in now */
};

/* Is this the address of a node in use, of that kind? */
static inline const char *usage_audit_address(const struct loam_usage *usage, loam_phys node,
                                              struct usage_kind kind)
{
    const uint64_t base = loam_page_floor(node.addr);
    const uint64_t offset = node.addr - base;

    if (loam_phys_is_none(node) || base == 0 || offset < USAGE_HEAD_BYTES ||
        (offset - USAGE_HEAD_BYTES) % kind.node_bytes != 0 ||
        (offset - USAGE_HEAD_BYTES) / kind.node_bytes >= kind.in_frame)
        return "usage: node is no part of a page frame";
    const struct usage_frame *frame = usage_frame_at(usage, loam_phys_at(base));
    if (frame->node_bytes != kind.node_bytes)
        return "usage: leaves are not all at one height";
    if ((frame->free_nodes >> (offset - USAGE_HEAD_BYTES) / kind.node_bytes & 1) != 0)
        return "usage: node in use is marked free";
    return NULL;
}

static inline const char *usage_audit_keys(const uint64_t *key, uint64_t used, uint64_t slots)
{
    for (uint64_t i = 0; i < slots; i++) {
        if (i >= used ? key[i] != USAGE_KEY_NONE : i > 0 && key[i] <= key[i - 1])
            return "usage: keys of a node are out of order, or not cleared";
    }
    return NULL;
}

static inline const char *usage_audit_leaf(const struct loam_usage *usage,
                                           const struct usage_leaf *leaf, struct usage_tally *tally)
{
    const uint64_t least = usage->height > 0 ? USAGE_LEAF_MIN : 1;

    if (leaf->count < least || leaf->count > USAGE_LEAF_MAX)
        return "usage: leaf holds too few intervals, or too many";
    for (uint64_t i = 0; i < leaf->count; i++) {
        const struct usage_entry entry = usage_leaf_entry(leaf, i);
        if (entry.last < entry.first)
            return "usage: interval ends before it starts";
        if (tally->interval_count > 0 && (tally->low == 0 || entry.first < tally->low))
            return "usage: intervals overlap or are out of order";
        if (leaf->owner[i] >= LOAM_OWNERS)
            return "usage: unknown owner";
        tally->low = entry.last + 1;
        tally->interval_count++;
        tally->owner_count[entry.owner]++;
        tally->total_bytes[entry.owner] += entry.last - entry.first + 1;
    }
    return usage_audit_keys(leaf->last, leaf->count, USAGE_LEAF_MAX);
}

static inline const char *usage_audit_inner(const struct usage_inner *inner, bool is_root)
{
    if (inner->count < (is_root ? 2 : USAGE_INNER_MIN) || inner->count > USAGE_INNER_MAX)
        return "usage: inner node has too few children, or too many";
    return usage_audit_keys(inner->last, inner->count - 1, USAGE_INNER_MAX);
}

/* From @p node at @p level, 0 for a leaf, down to its first leaf. */
static inline const char *usage_audit_descend(const struct loam_usage *usage, loam_phys node,
                                              uint64_t level, struct usage_walk *walk,
                                              struct usage_tally *tally)
{
    const char *broken = NULL;

    for (; level > 0; level--) {
        if (tally->inner_count++ == usage->inners.used_count)
            return "usage: more nodes than counted, or a cycle";
        if ((broken = usage_audit_address(usage, node, usage_inner_kind())) != NULL)
            return broken;
        const struct usage_inner *inner = usage_inner_at(usage, node);
        if ((broken = usage_audit_inner(inner, level == usage->height)) != NULL)
            return broken;
        walk->inner[level - 1] = inner;
        walk->index[level - 1] = 0;
        node = inner->child[0];
    }
    if (tally->leaf_count++ == usage->leaves.used_count)
        return "usage: more nodes than counted, or a cycle";
    if ((broken = usage_audit_address(usage, node, usage_leaf_kind())) != NULL)
        return broken;
    return usage_audit_leaf(usage, usage_leaf_at(usage, node), tally);
}

/* The child walked in now is done: does the node at @p level know what it holds? */
static inline const char *usage_audit_child(const struct usage_walk *walk, uint64_t level,
                                            struct usage_largest found,
                                            const struct usage_tally *tally)
{
    const struct usage_inner *inner = walk->inner[level];
    const uint64_t index = walk->index[level];

    if (index + 1 < inner->count && inner->last[index] + 1 != tally->low)
        return "usage: key is not the last byte below it";
    if (inner->largest[index].gap != found.gap)
        return "usage: largest gap of a subtree is wrong";
    if (inner->largest[index].usable != found.usable)
        return "usage: largest usable interval of a subtree is wrong";
    return NULL;
}

/* All leaves in order, and the nodes above each. */
static inline const char *usage_audit_tree(const struct loam_usage *usage,
                                           struct usage_tally *tally)
{
    struct usage_walk walk;
    loam_phys node = usage->root;
    uint64_t level = usage->height; /* of node */

    if (loam_phys_is_none(node))
        return usage->height == 0 ? NULL : "usage: an empty map has a height";
    if (usage->height > LOAM_USAGE_HEIGHT_MAX)
        return "usage: more levels than there can be";
    for (;;) { /* terminates: each descent counts a leaf */
        const uint64_t low = tally->low;
        const char *broken = usage_audit_descend(usage, node, level, &walk, tally);
        if (broken != NULL || usage->height == 0)
            return broken;
        const loam_phys leaf = walk.inner[0]->child[walk.index[0]];
        struct usage_largest found = usage_leaf_largest(usage_leaf_at(usage, leaf), low);
        for (level = 0; level < usage->height; level++) {
            if ((broken = usage_audit_child(&walk, level, found, tally)) != NULL)
                return broken;
            if (++walk.index[level] < walk.inner[level]->count)
                break;
            found = usage_inner_largest(walk.inner[level]);
        }
        if (level == usage->height)
            return NULL;
        node = walk.inner[level]->child[walk.index[level]];
    }
}

/* Frames with free nodes, and that the nodes of all frames are the tree's or free. */
static inline const char *usage_audit_pool(const struct loam_usage *usage,
                                           const struct loam_usage_pool *pool,
                                           struct usage_kind kind, uint64_t seen)
{
    uint64_t free_count = 0;
    loam_phys before = loam_phys_none();
    loam_phys at = pool->partial;

    if (seen != pool->used_count)
        return "usage: fewer nodes than counted";
    while (!loam_phys_is_none(at)) { /* terminates: free_count grows */
        if (at.addr == 0 || !loam_is_page_aligned(at.addr))
            return "usage: frame of nodes is not a page frame";
        const struct usage_frame *frame = usage_frame_at(usage, at);
        if (frame->node_bytes != kind.node_bytes || frame->before.addr != before.addr)
            return "usage: list of frames with free nodes is broken";
        if (frame->free_nodes == 0 || frame->free_nodes >> kind.in_frame != 0 ||
            frame->free_nodes == (UINT64_C(1) << kind.in_frame) - 1)
            return "usage: frame on the list has no free node, or no other";
        for (uint64_t bits = frame->free_nodes; bits != 0; bits &= bits - 1)
            free_count++;
        if (free_count > pool->free_count)
            return "usage: more free nodes than counted, or a cycle";
        before = at;
        at = frame->next;
    }
    return free_count == pool->free_count ? NULL : "usage: fewer free nodes than counted";
}

/* Is everything counted as it was seen? */
static inline const char *usage_audit_counts(const struct loam_usage *usage,
                                             const struct usage_tally *tally)
{
    const uint64_t leaves = usage->leaves.used_count + usage->leaves.free_count;
    const uint64_t inners = usage->inners.used_count + usage->inners.free_count;

    if (leaves % USAGE_LEAVES_IN_FRAME != 0 || inners % USAGE_INNERS_IN_FRAME != 0 ||
        leaves / USAGE_LEAVES_IN_FRAME + inners / USAGE_INNERS_IN_FRAME != usage->node_frame_count)
        return "usage: frames are not what their nodes add up to";
    if (tally->interval_count != usage->interval_count)
        return "usage: interval count is wrong";
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++) {
        if (tally->owner_count[owner] != usage->owner_count[owner])
            return "usage: interval count of an owner is wrong";
        if (tally->total_bytes[owner] != usage->total_bytes[owner])
            return "usage: bytes of an owner are wrong";
    }
    return NULL;
}

#endif
