/*
 * span_tree.h - search tree of disjoint spans, by address.
 *
 * A treap: each node is above those of lower priority, and the priority is a hash
 * of its address, so the depth is O(log spans) whatever the order of insertions.
 * Nodes lie in the spans themselves. Nothing allocates, nothing recurses.
 */
#ifndef LOAM_INTERNAL_SPAN_TREE_H
#define LOAM_INTERNAL_SPAN_TREE_H

#include "digest.h"

#include <stddef.h>
#include <stdint.h>

/* At the start of the span it describes. */
struct loam_arena_span {
    struct loam_arena_span *left, *right; /* lower and higher addresses */
    uint64_t start, size;                 /* as claimed */
    uint64_t first, end;                  /* blocks tile [first, end) */
} __attribute__((may_alias));

static inline uint64_t span_tree_priority(const struct loam_arena_span *span)
{
    /* Twice: after once, spans at regular distances make a tree three times as deep. */
    return loam_digest_add(loam_digest_add(LOAM_DIGEST_START, span->start), 0);
}

/* The span with the highest start <= at, or NULL. */
static inline struct loam_arena_span *span_tree_at_or_below(struct loam_arena_span *root,
                                                            uint64_t at)
{
    struct loam_arena_span *below = NULL;

    while (root != NULL) { /* terminates: downwards */
        if (root->start <= at) {
            below = root;
            root = root->right;
        } else {
            root = root->left;
        }
    }
    return below;
}

/* The span with the lowest start >= at, or NULL. */
static inline struct loam_arena_span *span_tree_at_or_above(struct loam_arena_span *root,
                                                            uint64_t at)
{
    struct loam_arena_span *above = NULL;

    while (root != NULL) { /* terminates: downwards */
        if (root->start >= at) {
            above = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return above;
}

/* Insert: go down to where its priority belongs, split what is there around it. */
static inline void span_tree_insert(struct loam_arena_span **root, struct loam_arena_span *span)
{
    struct loam_arena_span **link = root;

    while (*link != NULL && span_tree_priority(*link) >= span_tree_priority(span))
        link = (*link)->start < span->start ? &(*link)->right : &(*link)->left;

    struct loam_arena_span *rest = *link;
    struct loam_arena_span **lower = &span->left;
    struct loam_arena_span **higher = &span->right;
    *link = span;
    while (rest != NULL) { /* terminates: downwards */
        if (rest->start < span->start) {
            *lower = rest;
            lower = &rest->right;
            rest = rest->right;
        } else {
            *higher = rest;
            higher = &rest->left;
            rest = rest->left;
        }
    }
    *lower = NULL;
    *higher = NULL;
}

/* Remove a span that is there: join its two sides in its place. */
static inline void span_tree_remove(struct loam_arena_span **root,
                                    const struct loam_arena_span *span)
{
    struct loam_arena_span **link = root;

    while (*link != span) /* terminates: it is there */
        link = (*link)->start < span->start ? &(*link)->right : &(*link)->left;

    struct loam_arena_span *lower = span->left;
    struct loam_arena_span *higher = span->right;
    while (lower != NULL && higher != NULL) { /* terminates: downwards */
        if (span_tree_priority(lower) >= span_tree_priority(higher)) {
            *link = lower;
            link = &lower->right;
            lower = lower->right;
        } else {
            *link = higher;
            link = &higher->left;
            higher = higher->left;
        }
    }
    *link = lower != NULL ? lower : higher;
}

#endif
