/*
 * usage_pool.h - nodes for usage.c's tree, several to a page frame of the stock.
 *
 *     frame   [ head | node 0 | node 1 | ... | node 6 )
 *     pool    partial --> frame with free nodes <--> another <--> end
 *
 * A frame holds nodes of one kind. Frames with free nodes are on a list of their
 * pool; one whose nodes are all free is in the stock, not here. The head says
 * which nodes are free and where the list goes on, so a node is found free, or
 * given back, without a search. Links are physical addresses.
 */
#ifndef LOAM_INTERNAL_USAGE_POOL_H
#define LOAM_INTERNAL_USAGE_POOL_H

#include <loam/usage.h>

#include "check.h"
#include "usage_node.h"

#define USAGE_HEAD_BYTES      64u   /* a cache line: nodes begin with one */
#define USAGE_LEAF_BYTES      576u  /* from one leaf to the next */
#define USAGE_INNER_BYTES     1856u /* from one inner node to the next */
#define USAGE_LEAVES_IN_FRAME ((unsigned)((LOAM_PAGE_SIZE - USAGE_HEAD_BYTES) / USAGE_LEAF_BYTES))
#define USAGE_INNERS_IN_FRAME ((unsigned)((LOAM_PAGE_SIZE - USAGE_HEAD_BYTES) / USAGE_INNER_BYTES))

/* Start of a frame that nodes lie in. */
struct usage_frame {
    loam_phys next, before; /* in the list of frames with free nodes; none at its ends */
    uint64_t free_nodes;    /* a bit for each */
    uint64_t node_bytes;    /* which kind of node */
};

LOAM_STATIC_ASSERT(sizeof(struct usage_frame) <= USAGE_HEAD_BYTES, "the head fits");
LOAM_STATIC_ASSERT(sizeof(struct usage_leaf) <= USAGE_LEAF_BYTES, "a leaf fits");
LOAM_STATIC_ASSERT(sizeof(struct usage_inner) <= USAGE_INNER_BYTES, "an inner node fits");
LOAM_STATIC_ASSERT(USAGE_LEAF_BYTES % 64 == 0 && USAGE_INNER_BYTES % 64 == 0,
                   "nodes begin with a cache line");

/* What tells leaves and inner nodes apart here. */
struct usage_kind {
    uint64_t node_bytes;
    unsigned in_frame;
};

static inline struct usage_kind usage_leaf_kind(void)
{
    const struct usage_kind kind = { USAGE_LEAF_BYTES, USAGE_LEAVES_IN_FRAME };
    return kind;
}

static inline struct usage_kind usage_inner_kind(void)
{
    const struct usage_kind kind = { USAGE_INNER_BYTES, USAGE_INNERS_IN_FRAME };
    return kind;
}

static inline struct usage_leaf *usage_leaf_at(const struct loam_usage *usage, loam_phys node)
{
    return loam_hhdm_pointer(usage->nodes->hhdm, node);
}

static inline struct usage_inner *usage_inner_at(const struct loam_usage *usage, loam_phys node)
{
    return loam_hhdm_pointer(usage->nodes->hhdm, node);
}

static inline struct usage_frame *usage_frame_at(const struct loam_usage *usage, loam_phys frame)
{
    return loam_hhdm_pointer(usage->nodes->hhdm, frame);
}

static void usage_frame_link_locked(struct loam_usage *usage, struct loam_usage_pool *pool,
                                    loam_phys at) LOAM_NEEDS(usage->lock)
{
    struct usage_frame *frame = usage_frame_at(usage, at);

    frame->before = loam_phys_none();
    frame->next = pool->partial;
    if (!loam_phys_is_none(frame->next))
        usage_frame_at(usage, frame->next)->before = at;
    pool->partial = at;
}

static void usage_frame_unlink_locked(struct loam_usage *usage, struct loam_usage_pool *pool,
                                      const struct usage_frame *frame) LOAM_NEEDS(usage->lock)
{
    if (loam_phys_is_none(frame->before))
        pool->partial = frame->next;
    else
        usage_frame_at(usage, frame->before)->next = frame->next;
    if (!loam_phys_is_none(frame->next))
        usage_frame_at(usage, frame->next)->before = frame->before;
}

/* Frames to be had so that a pool has @p wanted free nodes. */
static inline uint64_t usage_frames_for(const struct loam_usage_pool *pool, struct usage_kind kind,
                                        uint64_t wanted)
{
    if (wanted <= pool->free_count)
        return 0;
    return (wanted - pool->free_count + kind.in_frame - 1) / kind.in_frame;
}

/* Add @p count frames of a list to a pool. */
static void usage_pool_add_locked(struct loam_usage *usage, struct loam_usage_pool *pool,
                                  struct usage_kind kind, loam_phys *list, uint64_t count)
    LOAM_NEEDS(usage->lock)
{
    for (uint64_t i = 0; i < count; i++) {
        const loam_phys at = loam_stock_next(usage->nodes, list);
        struct usage_frame *frame = usage_frame_at(usage, at);
        frame->free_nodes = (UINT64_C(1) << kind.in_frame) - 1;
        frame->node_bytes = kind.node_bytes;
        usage_frame_link_locked(usage, pool, at);
        pool->free_count += kind.in_frame;
        usage->node_frame_count++;
    }
}

/* Have that many free nodes, or change nothing: the one step that can fail. */
static enum loam_status usage_reserve_locked(struct loam_usage *usage, uint64_t leaf_count,
                                             uint64_t inner_count) LOAM_NEEDS(usage->lock)
{
    const uint64_t for_leaves = usage_frames_for(&usage->leaves, usage_leaf_kind(), leaf_count);
    const uint64_t for_inners = usage_frames_for(&usage->inners, usage_inner_kind(), inner_count);
    loam_phys list;

    if (for_leaves + for_inners == 0)
        return LOAM_OK;
    const enum loam_status status = loam_stock_take(usage->nodes, for_leaves + for_inners, &list);
    if (status != LOAM_OK)
        return status;
    usage_pool_add_locked(usage, &usage->leaves, usage_leaf_kind(), &list, for_leaves);
    usage_pool_add_locked(usage, &usage->inners, usage_inner_kind(), &list, for_inners);
    return LOAM_OK;
}

/* A node that was reserved; contents undefined. */
static loam_phys usage_node_take_locked(struct loam_usage *usage, struct loam_usage_pool *pool)
    LOAM_NEEDS(usage->lock)
{
    LOAM_ASSERT(pool->free_count > 0);
    struct usage_frame *frame = usage_frame_at(usage, pool->partial);
    const uint64_t slot = (uint64_t)__builtin_ctzll(frame->free_nodes);
    const loam_phys node =
        loam_phys_at(pool->partial.addr + USAGE_HEAD_BYTES + slot * frame->node_bytes);

    frame->free_nodes &= frame->free_nodes - 1;
    if (frame->free_nodes == 0)
        usage_frame_unlink_locked(usage, pool, frame);
    pool->free_count--;
    pool->used_count++;
    return node;
}

/* Free a node; its frame goes back to the stock when it was the last there. */
static void usage_node_put_locked(struct loam_usage *usage, struct loam_usage_pool *pool,
                                  struct usage_kind kind, loam_phys node) LOAM_NEEDS(usage->lock)
{
    const loam_phys at = loam_phys_at(loam_page_floor(node.addr));
    struct usage_frame *frame = usage_frame_at(usage, at);
    const uint64_t slot = (node.addr - at.addr - USAGE_HEAD_BYTES) / kind.node_bytes;

    if (frame->free_nodes == 0)
        usage_frame_link_locked(usage, pool, at);
    frame->free_nodes |= UINT64_C(1) << slot;
    pool->free_count++;
    pool->used_count--;
    if (frame->free_nodes == (UINT64_C(1) << kind.in_frame) - 1) {
        usage_frame_unlink_locked(usage, pool, frame);
        pool->free_count -= kind.in_frame;
        usage->node_frame_count--;
        loam_stock_put(usage->nodes, at);
    }
}

#endif
