/*
 * usage_node.h - the nodes of usage.c's B+tree, each by itself: layout, search,
 * moving entries about. What links them is in usage_tree.h.
 *
 *     inner   last   [ 5  | 9  | MAX | MAX ... )     child i holds what ends
 *             child  [ |  | |  | |   )               above last[i - 1], up to
 *                      |    |    |                   last[i]
 *     leaf    last   [ 2 | 5 | MAX ... )
 *             first  [ 1 | 4 )
 *             owner  [ A | B )
 *
 * Inside, intervals have an inclusive last byte, so that one ending at 2^64 and
 * one of 2^64 bytes need no special case.
 *
 * Keys are the last bytes: the first key that is not below an address belongs to
 * the lowest interval with a byte at or above it. Keys lie by themselves, and all
 * that are not in use are the highest number there is, which is below nothing: a
 * search compares a fixed number of them, without a branch, and knows no count.
 */
#ifndef LOAM_INTERNAL_USAGE_NODE_H
#define LOAM_INTERNAL_USAGE_NODE_H

#include <loam/usage.h>

#define USAGE_LEAF_MAX  32u                    /* intervals in a leaf */
#define USAGE_INNER_MAX 56u                    /* children of an inner node */
#define USAGE_LEAF_MIN  (USAGE_LEAF_MAX / 2u)  /* in all but the root */
#define USAGE_INNER_MIN (USAGE_INNER_MAX / 2u) /* likewise; the root has 2 at least */
#define USAGE_KEY_NONE  UINT64_MAX             /* of a slot not in use; of a last child */

struct usage_entry {
    uint64_t first, last; /* bytes, inclusive */
    enum loam_owner owner;
};

struct usage_leaf {
    uint64_t last[USAGE_LEAF_MAX]; /* ascending; from count on USAGE_KEY_NONE */
    uint64_t first[USAGE_LEAF_MAX];
    uint8_t owner[USAGE_LEAF_MAX]; /* enum loam_owner */
    uint64_t count;                /* 1..USAGE_LEAF_MAX outside of a change */
};

/*
 * What is largest in a part of the tree, in bytes; 0 if there is none, and
 * 2^64 - 1 for 2^64. A gap counts for the interval that ends it, so the gap above
 * the highest interval of all counts for none.
 */
struct usage_largest {
    uint64_t gap;
    uint64_t usable; /* interval of LOAM_OWNER_USABLE */
};

struct usage_inner {
    /* last[i] is the last byte of child i's highest interval, exactly; that of the
     * last child is kept above, where this node is not the last child itself. */
    uint64_t last[USAGE_INNER_MAX];
    loam_phys child[USAGE_INNER_MAX];
    struct usage_largest largest[USAGE_INNER_MAX]; /* of each child */
    uint64_t count; /* children, 2..USAGE_INNER_MAX outside of a change */
};

LOAM_STATIC_ASSERT(LOAM_OWNERS <= UINT8_MAX, "an owner fits a byte");
LOAM_STATIC_ASSERT(USAGE_LEAF_MAX == 32 && USAGE_INNER_MAX == 56, "as the searches know it");
LOAM_STATIC_ASSERT(USAGE_LEAF_MIN >= 2 && USAGE_INNER_MIN >= 2, "two neighbours can be merged");

/* ---- search -------------------------------------------------------------- */

/* How many of eight keys are below @p at. */
static inline uint64_t usage_below(const uint64_t *key, uint64_t at)
{
    return (uint64_t)(key[0] < at) + (uint64_t)(key[1] < at) + (uint64_t)(key[2] < at) +
           (uint64_t)(key[3] < at) + (uint64_t)(key[4] < at) + (uint64_t)(key[5] < at) +
           (uint64_t)(key[6] < at) + (uint64_t)(key[7] < at);
}

/* Index of the first interval in a leaf that ends at or above @p at; its count if
 * there is none. First which eight, then which of them: all loads of a step are
 * independent, so a cold node costs one wait. */
static inline uint64_t usage_leaf_index(const struct usage_leaf *leaf, uint64_t at)
{
    const uint64_t *key = leaf->last;
    const uint64_t eight =
        (uint64_t)(key[7] < at) + (uint64_t)(key[15] < at) + (uint64_t)(key[23] < at);

    return 8 * eight + usage_below(key + 8 * eight, at);
}

/* Index of the child that holds the first interval that ends at or above @p at;
 * the last child, if there is none. */
static inline uint64_t usage_inner_index(const struct usage_inner *inner, uint64_t at)
{
    const uint64_t *key = inner->last;
    const uint64_t eight = (uint64_t)(key[7] < at) + (uint64_t)(key[15] < at) +
                           (uint64_t)(key[23] < at) + (uint64_t)(key[31] < at) +
                           (uint64_t)(key[39] < at) + (uint64_t)(key[47] < at);

    return 8 * eight + usage_below(key + 8 * eight, at);
}

/* ---- what is largest ----------------------------------------------------- */

/* Bytes from @p low to before @p first. Half-way through a change an interval may
 * reach over the next one: no gap then. */
static inline uint64_t usage_gap_bytes(uint64_t low, uint64_t first)
{
    return first > low ? first - low : 0;
}

/* 2^64 - 1 for 2^64; 0 if the interval is not USABLE. Without a branch: which
 * intervals are cannot be foreseen. */
static inline uint64_t usage_usable_bytes(const struct usage_entry *entry)
{
    const uint64_t above = entry->last - entry->first;
    const uint64_t mask = (uint64_t)0 - (uint64_t)(entry->owner == LOAM_OWNER_USABLE);

    return (above + (uint64_t)(above != UINT64_MAX)) & mask;
}

static inline uint64_t usage_greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline struct usage_largest usage_largest_of(struct usage_largest a, struct usage_largest b)
{
    const struct usage_largest both = { usage_greater(a.gap, b.gap),
                                        usage_greater(a.usable, b.usable) };
    return both;
}

static inline struct usage_entry usage_leaf_entry(const struct usage_leaf *leaf, uint64_t index)
{
    const struct usage_entry entry = { leaf->first[index], leaf->last[index],
                                       (enum loam_owner)leaf->owner[index] };
    return entry;
}

/* @p low: the address after the interval before the leaf; 0 if there is none. */
static inline uint64_t usage_leaf_gap(const struct usage_leaf *leaf, uint64_t low)
{
    uint64_t largest = 0;

    for (uint64_t i = 0; i < leaf->count; i++) {
        largest = usage_greater(largest, usage_gap_bytes(low, leaf->first[i]));
        low = leaf->last[i] + 1;
    }
    return largest;
}

static inline uint64_t usage_leaf_usable(const struct usage_leaf *leaf)
{
    uint64_t largest = 0;

    for (uint64_t i = 0; i < leaf->count; i++) {
        const struct usage_entry entry = usage_leaf_entry(leaf, i);
        largest = usage_greater(largest, usage_usable_bytes(&entry));
    }
    return largest;
}

static inline struct usage_largest usage_leaf_largest(const struct usage_leaf *leaf, uint64_t low)
{
    const struct usage_largest largest = { usage_leaf_gap(leaf, low), usage_leaf_usable(leaf) };
    return largest;
}

static inline struct usage_largest usage_inner_largest(const struct usage_inner *inner)
{
    struct usage_largest largest = { 0, 0 };

    for (uint64_t i = 0; i < inner->count; i++)
        largest = usage_largest_of(largest, inner->largest[i]);
    return largest;
}

/* ---- leaves -------------------------------------------------------------- */

/* Slots from @p index on are not in use. */
static inline void usage_leaf_end(struct usage_leaf *leaf, uint64_t index)
{
    leaf->count = index;
    for (uint64_t i = index; i < USAGE_LEAF_MAX; i++)
        leaf->last[i] = USAGE_KEY_NONE;
}

static inline void usage_leaf_put(struct usage_leaf *leaf, uint64_t index,
                                  const struct usage_entry *entry)
{
    leaf->last[index] = entry->last;
    leaf->first[index] = entry->first;
    leaf->owner[index] = (uint8_t)entry->owner;
}

/* Copy @p count intervals between leaves, or within one: they may overlap. */
static inline void usage_leaf_copy(struct usage_leaf *to, uint64_t to_index,
                                   const struct usage_leaf *from, uint64_t from_index,
                                   uint64_t count)
{
    __builtin_memmove(&to->last[to_index], &from->last[from_index], count * sizeof(to->last[0]));
    __builtin_memmove(&to->first[to_index], &from->first[from_index], count * sizeof(to->first[0]));
    __builtin_memmove(&to->owner[to_index], &from->owner[from_index], count * sizeof(to->owner[0]));
}

/* Insert into a leaf that has room. A loop, here and below: a kernel's own memmove()
 * may be the slower one, and a few words are moved. */
static inline void usage_leaf_insert(struct usage_leaf *leaf, uint64_t index,
                                     const struct usage_entry *entry)
{
    for (uint64_t i = leaf->count; i > index; i--) {
        leaf->last[i] = leaf->last[i - 1];
        leaf->first[i] = leaf->first[i - 1];
        leaf->owner[i] = leaf->owner[i - 1];
    }
    usage_leaf_put(leaf, index, entry);
    leaf->count++;
}

/* Remove @p count intervals of a leaf. */
static inline void usage_leaf_remove(struct usage_leaf *leaf, uint64_t index, uint64_t count)
{
    const uint64_t rest = leaf->count - count;

    for (uint64_t i = index; i < rest; i++) {
        leaf->last[i] = leaf->last[i + count];
        leaf->first[i] = leaf->first[i + count];
        leaf->owner[i] = leaf->owner[i + count];
    }
    for (uint64_t i = rest; i < leaf->count; i++)
        leaf->last[i] = USAGE_KEY_NONE;
    leaf->count = rest;
}

/* Give the left of two neighbours @p want intervals of both. */
static inline void usage_leaf_share(struct usage_leaf *left, struct usage_leaf *right,
                                    uint64_t want)
{
    const uint64_t all = left->count + right->count;

    if (left->count < want) {
        const uint64_t move = want - left->count;
        usage_leaf_copy(left, left->count, right, 0, move);
        usage_leaf_copy(right, 0, right, move, right->count - move);
    } else {
        const uint64_t move = left->count - want;
        usage_leaf_copy(right, move, right, 0, right->count);
        usage_leaf_copy(right, 0, left, want, move);
    }
    usage_leaf_end(left, want);
    usage_leaf_end(right, all - want);
}

/* ---- inner nodes --------------------------------------------------------- */

/* Slots from @p index on are not in use; the child before has its key above. */
static inline void usage_inner_end(struct usage_inner *inner, uint64_t index)
{
    inner->count = index;
    for (uint64_t i = index > 0 ? index - 1 : 0; i < USAGE_INNER_MAX; i++)
        inner->last[i] = USAGE_KEY_NONE;
}

static inline void usage_inner_copy(struct usage_inner *to, uint64_t to_index,
                                    const struct usage_inner *from, uint64_t from_index,
                                    uint64_t count)
{
    __builtin_memmove(&to->last[to_index], &from->last[from_index], count * sizeof(to->last[0]));
    __builtin_memmove(&to->child[to_index], &from->child[from_index], count * sizeof(to->child[0]));
    __builtin_memmove(&to->largest[to_index], &from->largest[from_index],
                      count * sizeof(to->largest[0]));
}

/* A child was split: what its parent has to know. */
struct usage_split {
    loam_phys right;    /* the new node, after it */
    uint64_t left_last; /* last byte of what stayed in it */
    struct usage_largest left_largest, right_largest;
};

/* Insert the new half of child @p index behind it, into a node that has room. */
static inline void usage_inner_insert(struct usage_inner *inner, uint64_t index,
                                      const struct usage_split *split)
{
    usage_inner_copy(inner, index + 1, inner, index, inner->count - index);
    inner->last[index] = split->left_last; /* the key it had is the new half's now */
    inner->largest[index] = split->left_largest;
    inner->largest[index + 1] = split->right_largest;
    inner->child[index + 1] = split->right;
    inner->count++;
}

/* Forget child @p index. If it is the last one, the key of the child before is
 * lost: the caller keeps it above. */
static inline void usage_inner_remove(struct usage_inner *inner, uint64_t index)
{
    usage_inner_copy(inner, index, inner, index + 1, inner->count - index - 1);
    usage_inner_end(inner, inner->count - 1);
}

/*
 * Give the left of two neighbours @p want children of both.
 *
 * @param key last byte of the left one, which its parent has
 *
 * @return the same afterwards; USAGE_KEY_NONE when the left one has all
 */
static inline uint64_t usage_inner_share(struct usage_inner *left, struct usage_inner *right,
                                         uint64_t want, uint64_t key)
{
    const uint64_t all = left->count + right->count;

    left->last[left->count - 1] = key;
    if (left->count < want) {
        const uint64_t move = want - left->count;
        usage_inner_copy(left, left->count, right, 0, move);
        usage_inner_copy(right, 0, right, move, right->count - move);
    } else {
        const uint64_t move = left->count - want;
        usage_inner_copy(right, move, right, 0, right->count);
        usage_inner_copy(right, 0, left, want, move);
    }
    const uint64_t left_last = left->last[want - 1];
    usage_inner_end(left, want);
    usage_inner_end(right, all - want);
    return left_last;
}

#endif
