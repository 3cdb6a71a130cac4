/*
 * usage_list.h - the storage under usage.c, which alone includes it: a sorted
 * list of nodes of intervals. It can be replaced without a change elsewhere.
 *
 *     first --> | 128 intervals | --> | 97 intervals | --> | 66 intervals |
 *
 * One node is one page frame. Inside, intervals have an inclusive last byte, so
 * that one ending at 2^64 and one of 2^64 bytes need no special case.
 *
 * A change is a plan: from a place on, so many intervals go and up to three come
 * instead. usage_carry_out_locked() takes the one node that this may need (three
 * more intervals overflow a node at most once) before it changes anything; the
 * rest cannot fail.
 *
 * Nodes do not leak: two neighbours hold more than USAGE_MERGE_MAX intervals
 * together, or they are merged; a full node is split into halves. So n intervals
 * take at most n / 64 + 1 nodes, and a split is not soon followed by a merge.
 */
#ifndef LOAM_INTERNAL_USAGE_LIST_H
#define LOAM_INTERNAL_USAGE_LIST_H

#include <loam/usage.h>

#include "try.h"

#define USAGE_NODE_MAX  170u /* intervals in a node */
#define USAGE_MERGE_MAX 128u /* neighbours with at most as many together become one */

struct usage_entry {
    uint64_t first, last; /* bytes, inclusive */
    enum loam_owner owner;
};

struct usage_node {
    loam_phys next; /* none at the end */
    uint64_t count; /* 1..USAGE_NODE_MAX outside of a change */
    struct usage_entry entry[USAGE_NODE_MAX];
};
LOAM_STATIC_ASSERT(sizeof(struct usage_node) <= LOAM_PAGE_SIZE, "a node is one page frame");
LOAM_STATIC_ASSERT(sizeof(struct usage_node) + sizeof(struct usage_entry) > LOAM_PAGE_SIZE,
                   "a node uses its whole frame");
LOAM_STATIC_ASSERT(USAGE_MERGE_MAX < USAGE_NODE_MAX, "a split must not be merged at once");

/* A place in the list. Links are where a node's address is kept, so that a node
 * can be unlinked without knowing what is before it. */
struct usage_cursor {
    loam_phys *before; /* link to the node before; the same as link at the first */
    loam_phys *link;   /* link to the node; holds none only in an empty map */
    uint64_t index;    /* in the node; its count only at the end of the list */
};

struct usage_plan {
    struct usage_cursor at;
    uint64_t remove_count; /* intervals from there on that go */
    struct usage_entry put[3];
    unsigned put_count; /* and those that come instead */
};

static struct usage_node *usage_node_at(const struct loam_usage *usage, loam_phys node)
{
    return loam_hhdm_pointer(usage->nodes->hhdm, node);
}

/* Index of the first interval in @p node that ends at or above @p at. */
static uint64_t usage_index_of(const struct usage_node *node, uint64_t at)
{
    uint64_t low = 0;
    uint64_t high = node->count;

    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (node->entry[middle].last < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first interval that ends at or above @p at, or the end of the list. */
static struct usage_cursor usage_seek_locked(struct loam_usage *usage, uint64_t at)
    LOAM_NEEDS(usage->lock)
{
    struct usage_cursor cursor = { &usage->first, &usage->first, 0 };

    if (loam_phys_is_none(usage->first))
        return cursor;
    struct usage_node *node = usage_node_at(usage, usage->first);
    while (!loam_phys_is_none(node->next) && node->entry[node->count - 1].last < at) {
        cursor.before = cursor.link;
        cursor.link = &node->next;
        node = usage_node_at(usage, node->next);
    }
    cursor.index = usage_index_of(node, at);
    return cursor;
}

/* The interval under the cursor; NULL at the end of the list. */
static const struct usage_entry *usage_entry_locked(const struct loam_usage *usage,
                                                    const struct usage_cursor *cursor)
    LOAM_NEEDS(usage->lock)
{
    if (loam_phys_is_none(*cursor->link))
        return NULL;
    const struct usage_node *node = usage_node_at(usage, *cursor->link);
    return cursor->index < node->count ? &node->entry[cursor->index] : NULL;
}

/* To the next interval. The cursor is not at the end of the list. */
static void usage_step_locked(const struct loam_usage *usage, struct usage_cursor *cursor)
    LOAM_NEEDS(usage->lock)
{
    struct usage_node *node = usage_node_at(usage, *cursor->link);

    cursor->index++;
    if (cursor->index == node->count && !loam_phys_is_none(node->next)) {
        cursor->before = cursor->link;
        cursor->link = &node->next;
        cursor->index = 0;
    }
}

static void usage_unlink_locked(struct loam_usage *usage, loam_phys *link) LOAM_NEEDS(usage->lock)
{
    const loam_phys frame = *link;

    *link = usage_node_at(usage, frame)->next;
    usage->node_count--;
    loam_stock_put(usage->nodes, frame);
}

/* Count one interval in (sign 1) or out (sign -1). */
static void usage_account_locked(struct loam_usage *usage, const struct usage_entry *entry,
                                 uint64_t sign) LOAM_NEEDS(usage->lock)
{
    usage->interval_count += sign;
    usage->owner_count[entry->owner] += sign;
    usage->total_bytes[entry->owner] += sign * (entry->last - entry->first + 1);
}

/* Remove @p count intervals of one node, which may be empty then. */
static void usage_remove_locked(struct loam_usage *usage, struct usage_node *node, uint64_t index,
                                uint64_t count) LOAM_NEEDS(usage->lock)
{
    const uint64_t after = index + count;

    for (uint64_t i = index; i < after; i++)
        usage_account_locked(usage, &node->entry[i], UINT64_MAX);
    __builtin_memmove(&node->entry[index], &node->entry[after],
                      (node->count - after) * sizeof(node->entry[0]));
    node->count -= count;
}

/* Insert into one node, which has room. */
static void usage_put_locked(struct loam_usage *usage, struct usage_node *node, uint64_t index,
                             const struct usage_plan *plan) LOAM_NEEDS(usage->lock)
{
    __builtin_memmove(&node->entry[index + plan->put_count], &node->entry[index],
                      (node->count - index) * sizeof(node->entry[0]));
    for (unsigned i = 0; i < plan->put_count; i++) {
        node->entry[index + i] = plan->put[i];
        usage_account_locked(usage, &plan->put[i], 1);
    }
    node->count += plan->put_count;
}

/* Link a zeroed frame behind @p link as a node without intervals. */
static struct usage_node *usage_link_locked(struct loam_usage *usage, loam_phys *link,
                                            loam_phys frame) LOAM_NEEDS(usage->lock)
{
    struct usage_node *node = usage_node_at(usage, frame);

    node->next = *link;
    *link = frame;
    usage->node_count++;
    return node;
}

/* Remove intervals from the cursor on, over as many nodes as it takes. The
 * cursor's own node stays, even if it is empty then. */
static void usage_remove_run_locked(struct loam_usage *usage, const struct usage_cursor *at,
                                    uint64_t count) LOAM_NEEDS(usage->lock)
{
    struct usage_node *node = usage_node_at(usage, *at->link);
    const uint64_t rest = node->count - at->index;
    uint64_t here = count < rest ? count : rest;

    usage_remove_locked(usage, node, at->index, here);
    for (uint64_t left = count - here; left > 0; left -= here) {
        struct usage_node *next = usage_node_at(usage, node->next);
        here = left < next->count ? left : next->count;
        usage_remove_locked(usage, next, 0, here);
        if (next->count == 0)
            usage_unlink_locked(usage, &node->next);
    }
}

/* Move the upper half of a node to a new one behind it. */
static struct usage_node *usage_split_locked(struct loam_usage *usage, struct usage_node *node,
                                             loam_phys spare) LOAM_NEEDS(usage->lock)
{
    struct usage_node *upper = usage_link_locked(usage, &node->next, spare);
    const uint64_t half = node->count / 2;

    upper->count = node->count - half;
    node->count = half;
    __builtin_memcpy(&upper->entry[0], &node->entry[half], upper->count * sizeof(upper->entry[0]));
    return upper;
}

/* Restore the rule about neighbours, from @p link on. A change touches at most
 * three nodes in a row, which are in four pairs. */
static void usage_tidy_locked(struct loam_usage *usage, loam_phys *link) LOAM_NEEDS(usage->lock)
{
    if (loam_phys_is_none(*link))
        return;
    struct usage_node *node = usage_node_at(usage, *link);
    for (unsigned pair = 0; pair < 4 && !loam_phys_is_none(node->next); pair++) {
        struct usage_node *next = usage_node_at(usage, node->next);
        if (node->count + next->count > USAGE_MERGE_MAX) {
            node = next;
            continue;
        }
        __builtin_memcpy(&node->entry[node->count], &next->entry[0],
                         next->count * sizeof(next->entry[0]));
        node->count += next->count;
        usage_unlink_locked(usage, &node->next);
    }
}

/* Does the plan need a node more than there are? */
static bool usage_grows_locked(const struct loam_usage *usage, const struct usage_plan *plan)
    LOAM_NEEDS(usage->lock)
{
    if (loam_phys_is_none(*plan->at.link))
        return true;
    const uint64_t count = usage_node_at(usage, *plan->at.link)->count;
    const uint64_t rest = count - plan->at.index;
    const uint64_t removed = plan->remove_count < rest ? plan->remove_count : rest;
    return count - removed + plan->put_count > USAGE_NODE_MAX;
}

/* Reserve, then commit. The plan does something. */
static enum loam_status usage_carry_out_locked(struct loam_usage *usage,
                                               const struct usage_plan *plan)
    LOAM_NEEDS(usage->lock)
{
    loam_phys spare = loam_phys_none();

    if (usage_grows_locked(usage, plan)) {
        loam_phys list;
        LOAM_TRY(loam_stock_take(usage->nodes, 1, &list));
        spare = loam_stock_next(usage->nodes, &list);
    }
    if (loam_phys_is_none(*plan->at.link))
        usage_link_locked(usage, plan->at.link, spare);
    usage_remove_run_locked(usage, &plan->at, plan->remove_count);

    struct usage_node *node = usage_node_at(usage, *plan->at.link);
    uint64_t index = plan->at.index;
    if (node->count + plan->put_count > USAGE_NODE_MAX) {
        struct usage_node *upper = usage_split_locked(usage, node, spare);
        if (index > node->count) {
            index -= node->count;
            node = upper;
        }
    }
    usage_put_locked(usage, node, index, plan);
    if (node->count == 0)
        usage_unlink_locked(usage, plan->at.link);
    usage_tidy_locked(usage, plan->at.before);
    return LOAM_OK;
}

#endif
