/*
 * record.h - a record of each page frame, for kernels that share frames: reference
 * counts, and blocks whose order is known. Lies beside the frame allocator, which
 * does not know of it and costs the same.
 *
 *     a word per frame    [ order + 1 | references ]    first frame of a block
 *                         [ 31        | 0          ]    free, and filled with poison
 *                         [ 0         | 0          ]    all others
 *
 * A block that is allocated here has one reference; loam_record_put() of the last
 * one frees it. What is caught, always and at once, whichever CPUs are concerned
 * (subject: the address that was given, but for the last one):
 *
 *     record: not a frame of this memory         detail: pages
 *     record: not allocated                      double put, or never a block; detail: 0
 *     record: inside a block                     detail: where the block starts
 *     record: wrong order                        detail: the block's order
 *     record: block is shared                    detail: its references
 *     record: too many references                detail: how many it has
 *     record: already has a record               detail: the order of that block
 *     record: written to after it was freed      subject: the first byte that is wrong;
 *                                                detail: its value
 *
 * With poison, blocks that are freed are filled, and what was filled is looked at
 * when it is given out again. Both cost as much as clearing the memory does.
 *
 * The frame allocator's own calls stay possible beside this:
 *
 *     taken there    has no record, until loam_record_adopt(); is freed there
 *     taken here     is freed here; if not, its record stays behind, and panics when
 *                    a block is given out that starts there (LOAM_CHECK 2: or has it)
 *     with poison    what was taken there must be adopted or forgotten before it is
 *                    written to, or that is a write after free when it comes back
 *
 * Costs 1 MiB per GiB of RAM; memory that is zeroed already is only written to when
 * it is used. A block of 1 GiB is recorded by one word, as a single frame is: a load
 * and a store when it is allocated, one locked instruction for each get and put.
 */
#ifndef LOAM_RECORD_H
#define LOAM_RECORD_H

#include "frame.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_RECORD_COUNT_MAX 0x7ffffffu /* references to one block */
#define LOAM_RECORD_POISON    0xdbu      /* in every byte of what is freed */

/* A range of RAM and a word for each of its frames. */
struct loam_record_part {
    uint64_t first, count; /* frames: address / 4096 */
    LOAM_ATOMIC(uint32_t) * word;
    struct loam_record_part *next; /* added before this one */
};

/* Read-only outside record.c. */
struct loam_record {
    struct loam_frame *frame;      /* borrowed for ever */
    struct loam_hhdm hhdm;         /* unused without poison */
    struct loam_record_part main;  /* the largest: looked at first */
    struct loam_record_part *part; /* of the setup, ascending */
    size_t part_count;
    LOAM_ATOMIC(struct loam_record_part *) added;
    bool poison;
};

struct loam_record_setup {
    struct loam_frame *frame; /* initialised; borrowed for ever */
    struct loam_hhdm hhdm;    /* covers all frames; from a boot adapter, or with poison
                                 it panics. Unused without poison */
    void *memory;             /* 64-byte aligned; owned by the records from now on; no
                                 part of what the frame allocator manages */
    size_t memory_bytes;
    bool is_zeroed; /* the memory holds zeroes: need not be cleared */
    bool poison;    /* fill what is freed, look at it when it is given out */
};

/* Records for RAM that is added to the frame allocator. */
struct loam_record_addition {
    struct loam_phys_range range; /* with poison: in the direct map */
    void *memory;                 /* as in loam_record_setup */
    size_t memory_bytes;
    bool is_zeroed;
};

/* A block that has a record. */
struct loam_record_block {
    loam_phys start;
    unsigned order;
    unsigned count; /* references, 1..LOAM_RECORD_COUNT_MAX */
};

/*
 * Default context of the functions here: any CPU, any interrupt state, also in
 * interrupt handlers, not NMI. None waits for another CPU.
 */

/** Bytes that loam_record_init() needs for the memory that the frame allocator has now. */
LOAM_NODISCARD size_t loam_record_bytes_needed(const struct loam_frame *frame);

/**
 * Start without a record of any frame.
 *
 * @return LOAM_OK; LOAM_INVALID: memory is NULL or unaligned; LOAM_NO_SPACE:
 *         memory_bytes is less than loam_record_bytes_needed()
 *
 * Context: one CPU, before anybody uses the records.
 */
LOAM_NODISCARD enum loam_status loam_record_init(struct loam_record *record,
                                                 const struct loam_record_setup *setup);

/** Bytes that loam_record_add() needs for a range; 0: it is empty, unaligned or wraps. */
LOAM_NODISCARD size_t loam_record_add_bytes_needed(struct loam_phys_range range);

/**
 * Have words for more RAM: to be called before loam_frame_add() of the same range.
 * Not needed again for memory that was removed and comes back; see
 * loam_record_forget().
 *
 * @return LOAM_OK; LOAM_INVALID: the range or the memory is malformed;
 *         LOAM_OVERLAP: a frame of it has a word already; LOAM_NO_SPACE:
 *         memory_bytes is less than loam_record_add_bytes_needed()
 *
 * Context: as above; by one context at a time.
 */
LOAM_NODISCARD enum loam_status loam_record_add(struct loam_record *record,
                                                const struct loam_record_addition *addition);

/**
 * loam_frame_alloc() of a block with one reference.
 *
 * @return first frame; the caller's until loam_record_put(); contents undefined.
 *         loam_phys_none(): as loam_frame_alloc()
 */
LOAM_NODISCARD loam_phys loam_record_alloc(struct loam_record *record, unsigned order,
                                           enum loam_zone zone);

/**
 * Give a block, or a naturally aligned part of one, that was taken from the frame
 * allocator itself, a record with one reference. Nothing was written to it yet, if
 * there is poison. The same as loam_record_alloc() from then on.
 *
 * @param record records
 * @param block  first frame; has no record, which else panics
 * @param order  0..LOAM_ORDER_MAX; a larger one, or a block that is not aligned for it,
 *               is no frame of this memory
 */
void loam_record_adopt(struct loam_record *record, loam_phys block, unsigned order);

/** The same for each single frame of a range: for what loam_frame_alloc_range() gave.
 * Each is freed by itself. @param range page-aligned, not empty */
void loam_record_adopt_range(struct loam_record *record, struct loam_phys_range range);

/** Add a reference. @param block of which the caller has one, or knows that it stays */
void loam_record_get(struct loam_record *record, loam_phys block);

/**
 * Give a reference up; the last one frees the block.
 *
 * @param record records
 * @param block  where it starts
 * @param order  that it was allocated with
 *
 * @return was it the last one? Need not be looked at
 */
bool loam_record_put(struct loam_record *record, loam_phys block, unsigned order);

/** Make single frames, each with one reference, of a block that has one reference.
 * O(frames) */
void loam_record_split(struct loam_record *record, loam_phys block, unsigned order);

/** References to the block that starts here; 0: none does. */
LOAM_NODISCARD unsigned loam_record_count(const struct loam_record *record, loam_phys block);

/**
 * The block that a frame belongs to.
 *
 * @param record records
 * @param at     any address
 * @param out    the block as it is at some moment of the call
 *
 * @return false: it belongs to none, *out untouched
 */
LOAM_NODISCARD bool loam_record_find(const struct loam_record *record, loam_phys at,
                                     struct loam_record_block *out);

/**
 * Forget that free frames were filled with poison: before memory that lost its
 * contents comes back, or frames are written to that the frame allocator gave.
 * Blocks and what has no word are left alone. @param range page-aligned
 */
void loam_record_forget(struct loam_record *record, struct loam_phys_range range);

/** @return NULL if the records are sound, agree with the frame allocator, and nobody
 * wrote to poison; else the broken rule. Must be quiet. O(frames), and with poison
 * O(bytes that were freed) */
LOAM_NODISCARD const char *loam_record_audit(const struct loam_record *record);

/** @return digest of blocks, their orders and references. Must be quiet. O(frames) */
LOAM_NODISCARD uint64_t loam_record_digest(const struct loam_record *record);

#ifdef __cplusplus
}
#endif
#endif
