/*
 * paging.h - layer 5: page tables.
 *
 * A space is a tree of 512-entry tables under one root, 4 or 5 levels deep, with
 * leaves of 4 KiB, 2 MiB and (where CPUID has them) 1 GiB. Tables come from a
 * stock and go back to it as soon as they are empty. Tables are reached through
 * the direct map.
 *
 *     kernel space  [ lower half: its own | higher half           )
 *     other spaces  [ lower half: its own | the kernel's tables   )
 *
 * Every call is all or nothing: it first walks without writing, reserves the
 * tables it needs, and then commits what cannot fail.
 *
 * An entry is empty, maps a page, or is in use without being present:
 *     guard   nothing is to be mapped there
 *     tag     56 bits of the caller's: where a page was swapped to, say
 *     held    a frame that is recorded here and not, or no longer, mapped
 * Who takes memory out of a space and frees it detaches it (mapped -> held), lets
 * the batch flush, and collects the frames. Who maps new memory holds the frames,
 * as many at a time as he likes, and publishes them all at once.
 *
 * Entry format: Intel SDM vol. 3, section 4.5.
 */
#ifndef LOAM_PAGING_H
#define LOAM_PAGING_H

#include "stock.h"
#include "tlb.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef unsigned loam_prot; /* any OR of the flags below; absent = denied */
#define LOAM_PROT_READ   0x0u
#define LOAM_PROT_WRITE  0x1u
#define LOAM_PROT_EXEC   0x2u /* with WRITE: refused (W^X). All is executable without NX */
#define LOAM_PROT_USER   0x4u /* lower half only */
#define LOAM_PROT_GLOBAL 0x8u /* kept across CR3 loads; higher half only */

enum loam_cache {
    LOAM_CACHE_WB,       /* write-back: RAM */
    LOAM_CACHE_WT,       /* write-through */
    LOAM_CACHE_UC_MINUS, /* uncached, an MTRR may make it write-combining */
    LOAM_CACHE_UC,       /* uncached: MMIO */
    LOAM_CACHE_WP,       /* write-protected; UC_MINUS without PAT */
    LOAM_CACHE_WC,       /* write-combining: framebuffers; UC_MINUS without PAT */
};
#define LOAM_CACHES 6u

struct loam_attr {
    loam_prot prot;
    enum loam_cache cache;
};

#define LOAM_SPACE_STRIPES 16u /* locks of a space */
#define LOAM_SPACE_RECENT  64u /* GiB whose tables are found at once */

/* One lock for each 16th region of 2 MiB, a cache line apart. */
struct LOAM_CAPABILITY("mutex") loam_space_locks {
    struct {
        struct loam_ticketlock lock;
        unsigned char pad[64 - sizeof(struct loam_ticketlock)];
    } stripe[LOAM_SPACE_STRIPES];
};

/* Fields are read-only outside paging; must stay where it is. */
struct loam_space {
    struct loam_space_locks locks;
    struct loam_stock *stock; /* borrowed: table frames come from here */
    struct loam_hhdm hhdm;
    struct loam_cpu_features features; /* of the CPUs that will run on it */
    struct loam_tlb_space tlb;         /* who may remember what; loam_tlb_connect() */
    /* Bits that no entry of this library has, and PRESENT: of one with a table, and of a
     * small page; and without PRESENT of pages by level, 1..3. */
    uint64_t not_in_link, not_in_page, foreign_leaf[4];
    loam_phys root;                       /* PML4 or PML5 */
    struct loam_space *kernel;            /* whose higher half it shares; NULL: it has its own */
    struct loam_space *sharer;            /* a kernel's: first of those that share; else the next */
    LOAM_ATOMIC(uint64_t) table_count;    /* tables in the tree, the root included */
    LOAM_ATOMIC(uint64_t) open_count;     /* batches that were begun and not finished */
    LOAM_ATOMIC(uint64_t) flushing_count; /* changes that not every CPU has noticed yet */
    LOAM_ATOMIC(uint64_t) gone;           /* goes up before a table is given back */
    LOAM_ATOMIC(uint64_t) recent[LOAM_SPACE_RECENT]; /* tables of level 2 used lately */
    LOAM_ATOMIC(uint32_t) has_local;   /* some page of the higher half is or was not global */
    LOAM_ATOMIC(uint64_t) recent_attr; /* attributes of the last page, and their bits */
};

/**
 * Make an empty address space: the kernel's, or one that shares nothing.
 *
 * @param space    output, at a fixed place from then on
 * @param stock    borrowed for the life of @p space
 * @param features what entries may use; features->levels decides the depth
 *
 * @return LOAM_OK; LOAM_NO_MEMORY: no frame for the root;
 *         LOAM_INVALID: levels not 4 or 5, phys_bits not in 32..52
 */
LOAM_NODISCARD enum loam_status loam_space_init(struct loam_space *space, struct loam_stock *stock,
                                                const struct loam_cpu_features *features);

/**
 * Make an empty address space that shares the higher half of @p kernel: what is
 * mapped there now and what will be. Its own functions reach the lower half alone,
 * but for those that only look. It is connected to what @p kernel is connected to.
 *
 * @param space  output, at a fixed place from then on
 * @param kernel from loam_space_init(); must outlive @p space
 *
 * @return LOAM_OK; LOAM_NO_MEMORY: no frame for the root
 *
 * Context: any CPU, not NMI; takes all locks of @p kernel, then the stock's.
 */
LOAM_NODISCARD enum loam_status loam_space_create(struct loam_space *space,
                                                  struct loam_space *kernel);

/**
 * Run on this space from now on. The kernel's space is one, too.
 *
 * Context: any CPU that came with loam_enter(), any interrupt state, not NMI; code and
 * stack are in the higher half.
 */
void loam_space_switch(struct loam_space *space);

/**
 * Give all tables back: O(tables). Pages that are mapped are the caller's, who lists
 * them with loam_space_next() before this. Nobody else uses the space; batches that
 * are not finished, held frames, and spaces that share its higher half panic.
 *
 * @return LOAM_OK; LOAM_STATE: a CPU runs on it, nothing was done
 */
LOAM_NODISCARD enum loam_status loam_space_destroy(struct loam_space *space);

/*
 * Contracts shared by all that change a range:
 *   virt    page-aligned start and size, size > 0, canonical on its whole length;
 *           may end at 2^64; in a half that is the space's own. Else LOAM_INVALID
 *   attr    LOAM_INVALID if W+X, USER in the higher half, GLOBAL in the lower,
 *           or an unknown bit or cache type
 *   result  on failure tables, translations and stock are as before
 *   flush   through a batch, on finishing it: one flush for all that was done
 *   context any CPU, not NMI; takes the locks of the regions of 2 MiB it touches, of
 *           at most 16, with interrupts off, and the stock's while none of them is
 *           held; what flushes calls loam_port_tlb_flush() with none held, so not
 *           from an interrupt handler unless the hook allows it. Calls that touch
 *           different regions run in parallel, but for one region in 16
 *   cost    O(pages of the largest size that fits), O(1) for each table that is
 *           mapped as a whole or missing
 * Parts of one range change one after the other, as seen by CPUs that use it.
 * A page table entry that none of these calls can have written panics.
 */

/**
 * Map a virtual range onto a physical range with the largest pages that fit.
 *
 * @param phys page-aligned start of the backing, all of it below the CPU's
 *             physical address limit
 *
 * @return LOAM_OK; LOAM_INVALID; LOAM_OVERLAP if any page of @p virt is in use
 *         (loam_space_next() from its start tells the first); LOAM_NO_MEMORY if
 *         the tables it needs cannot be had. Does not flush, since a page that was
 *         not present is not cached; but it does where another CPU's flush is
 *         under way (a table may be cached), and where a large page that was split
 *         is whole again.
 */
LOAM_NODISCARD enum loam_status loam_space_map(struct loam_space *space,
                                               struct loam_virt_range virt, loam_phys phys,
                                               struct loam_attr attr);

/**
 * Map single frames in this order, with small pages.
 *
 * @param at     where the first one goes
 * @param frame  @p count addresses, as phys above; not retained
 * @param count  > 0
 *
 * @return as loam_space_map()
 */
LOAM_NODISCARD enum loam_status loam_space_map_frames(struct loam_space *space, loam_virt at,
                                                      const loam_phys *frame, size_t count,
                                                      struct loam_attr attr);

/**
 * Record single frames in this order without mapping them.
 *
 * @return as loam_space_map()
 */
LOAM_NODISCARD enum loam_status loam_space_hold(struct loam_space *space, loam_virt at,
                                                const loam_phys *frame, size_t count);

/** The same of a physical range, with the largest entries that fit; see loam_space_map(). */
LOAM_NODISCARD enum loam_status loam_space_hold_range(struct loam_space *space,
                                                      struct loam_virt_range virt, loam_phys phys);

/**
 * Map all frames that are held in the range.
 *
 * @return LOAM_OK; LOAM_INVALID; LOAM_NOT_FOUND if any page is not held;
 *         LOAM_NO_MEMORY if a large entry reaches over an edge and there is no table
 */
LOAM_NODISCARD enum loam_status loam_space_publish(struct loam_space *space,
                                                   struct loam_virt_range virt,
                                                   struct loam_attr attr);

enum loam_entry_kind {
    LOAM_ENTRY_EMPTY,
    LOAM_ENTRY_PAGE,  /* mapped */
    LOAM_ENTRY_GUARD, /* in use, not present: the next three */
    LOAM_ENTRY_TAG,
    LOAM_ENTRY_HELD,
};

/**
 * Mark empty pages as guards, or tag them, with the largest entries that fit.
 *
 * @param kind  LOAM_ENTRY_GUARD or LOAM_ENTRY_TAG
 * @param value below 2^56; the same for each page
 *
 * @return as loam_space_map(); LOAM_INVALID for another kind or value, too
 */
LOAM_NODISCARD enum loam_status loam_space_tag(struct loam_space *space,
                                               struct loam_virt_range virt,
                                               enum loam_entry_kind kind, uint64_t value);

/**
 * Make guards and tags empty pages again.
 *
 * @return LOAM_OK; LOAM_INVALID; LOAM_NOT_FOUND if any page is neither;
 *         LOAM_NO_MEMORY if a large entry reaches over an edge and there is no table
 */
LOAM_NODISCARD enum loam_status loam_space_untag(struct loam_space *space,
                                                 struct loam_virt_range virt);

/* ---- what needs a flush -------------------------------------------------- */

/*
 * Changes that are flushed together. On the caller's stack; fields are private.
 * Until it is finished other CPUs may use what was unmapped: its frames are not free,
 * and its addresses are not, either. Who maps something there before finds some CPUs
 * still using what was there.
 */
struct loam_space_batch {
    struct loam_space *space; /* NULL: finished */
    struct loam_tlb_batch tlb;
    bool merges;                /* some table may be one large page again: */
    uint64_t low, high;         /* in [low, high] */
    uint64_t unlinked;          /* tables, a list */
    bool has_lower, has_higher; /* halves that they are of */
};

/**
 * Begin a batch.
 *
 * @param batch output; the caller's until loam_space_batch_finish(), which must
 *              follow: the space's audit, its end, and its last batch miss it else.
 *              LOAM_SPACE_BATCH() has the compiler see to it
 * @param space borrowed until then
 */
void loam_space_batch_begin(struct loam_space_batch *batch, struct loam_space *space);

/**
 * Flush what has to be, on every CPU that may know of it, and give back tables that
 * became empty. The batch is not to be used any more, and a second call panics.
 */
void loam_space_batch_finish(struct loam_space_batch *batch);

/* Panics if a batch was left without loam_space_batch_finish(). */
void loam_space_batch_check(const struct loam_space_batch *batch);

/* Declare and begin a batch whose scope cannot be left before it is finished. */
#define LOAM_SPACE_BATCH(name, space)                                              \
    __attribute__((cleanup(loam_space_batch_check))) struct loam_space_batch name; \
    loam_space_batch_begin(&(name), (space))

/**
 * Remove all mappings of the range. A large page that reaches over an edge is split.
 *
 * @return LOAM_OK; LOAM_INVALID; LOAM_NOT_FOUND if any page is not mapped;
 *         LOAM_NO_MEMORY if a split needs a table and there is none
 */
LOAM_NODISCARD enum loam_status loam_space_batch_unmap(struct loam_space_batch *batch,
                                                       struct loam_virt_range virt);

/**
 * Remove the mappings that there are in the range; what else there is - nothing, guards,
 * tags, what is held - stays. Costs O(1) for each table that is missing.
 *
 * @return LOAM_OK, also if nothing was mapped; LOAM_INVALID; LOAM_NO_MEMORY as above
 */
LOAM_NODISCARD enum loam_status loam_space_batch_unmap_any(struct loam_space_batch *batch,
                                                           struct loam_virt_range virt);

/** As loam_space_batch_unmap(), but the frames stay recorded: held. For
 * loam_space_batch_collect(). */
LOAM_NODISCARD enum loam_status loam_space_batch_detach(struct loam_space_batch *batch,
                                                        struct loam_virt_range virt);

/**
 * Give all pages of the range new attributes. A large page that reaches over an edge
 * is split; one that was split, and whose parts are alike again, becomes one again.
 * Accessed, dirty and software bits are kept; pages to be copied when written to stay
 * so. Data is not flushed from the caches: do not change the cache type of memory in
 * use.
 *
 * @return as loam_space_batch_unmap()
 */
LOAM_NODISCARD enum loam_status loam_space_batch_protect(struct loam_space_batch *batch,
                                                         struct loam_virt_range virt,
                                                         struct loam_attr attr);

/**
 * Take held frames out; every CPU has dropped them, since the batch that detached them
 * was finished: @p batch is another one, for the tables that become empty. Again and
 * again, until 0 is returned.
 *
 * @param rest begins as the range, in which every page is held or empty; advanced
 * @param out  receives runs of contiguous memory, now the caller's
 * @param max  > 0; length of @p out
 *
 * @return how many runs; 0: that was all, and @p rest is empty
 *
 * Context: as above, with all locks of the space. What is neither held nor empty, and a
 * large entry that reaches over an edge of the range, panics.
 */
LOAM_NODISCARD size_t loam_space_batch_collect(struct loam_space_batch *batch,
                                               struct loam_virt_range *rest,
                                               struct loam_phys_range *out, size_t max);

typedef unsigned loam_page_bits;
#define LOAM_PAGE_ACCESSED 0x1u
#define LOAM_PAGE_DIRTY    0x2u

/**
 * Clear accessed and dirty bits.
 *
 * @param bits which
 * @param seen output: those that were set on any page of the range
 *
 * @return as loam_space_batch_unmap(). Pages of the higher half have both set from
 *         the beginning
 */
LOAM_NODISCARD enum loam_status loam_space_batch_clear(struct loam_space_batch *batch,
                                                       struct loam_virt_range virt,
                                                       loam_page_bits bits, loam_page_bits *seen);

/** One of the above as a batch of its own. */
LOAM_NODISCARD enum loam_status loam_space_unmap(struct loam_space *space,
                                                 struct loam_virt_range virt);
LOAM_NODISCARD enum loam_status loam_space_protect(struct loam_space *space,
                                                   struct loam_virt_range virt,
                                                   struct loam_attr attr);

/**
 * Put another frame behind a page that is mapped, in one step: what runs meanwhile
 * sees the one or the other. Ends that it is to be copied when written to; it stays
 * dirty if it was, and keeps its software bits.
 *
 * @param at   of a page; a larger one is split
 * @param phys as in loam_space_map()
 *
 * @return as loam_space_batch_unmap()
 */
LOAM_NODISCARD enum loam_status loam_space_batch_replace(struct loam_space_batch *batch,
                                                         loam_virt at, loam_phys phys,
                                                         struct loam_attr attr);

struct loam_translation;

/**
 * Put a tag in the place of a page that is mapped, in one step: what runs meanwhile uses the
 * page, or faults and finds the tag.
 *
 * @param at    of a page; a larger one is split
 * @param value of the tag, below 2^56: where the contents go to, say
 * @param out   what the page was. Its accessed and dirty bits are final; its contents are,
 *              and its memory is the caller's, when the batch is finished
 *
 * @return as loam_space_batch_unmap(); LOAM_INVALID for another value, too
 */
LOAM_NODISCARD enum loam_status loam_space_batch_swap_out(struct loam_space_batch *batch,
                                                          loam_virt at, uint64_t value,
                                                          struct loam_translation *out);

/**
 * Map a page in the place of a tag, in one step, if it is this one: of several that bring the
 * contents back at the same time one succeeds. Flushes as loam_space_map() does.
 *
 * @param at    page-aligned; a larger tag is split
 * @param value the tag must have
 * @param phys  as in loam_space_map()
 *
 * @return LOAM_OK; LOAM_INVALID; LOAM_NOT_FOUND: there is no such tag, or no more;
 *         LOAM_NO_MEMORY as loam_space_batch_unmap()
 */
LOAM_NODISCARD enum loam_status loam_space_swap_in(struct loam_space *space, loam_virt at,
                                                   uint64_t value, loam_phys phys,
                                                   struct loam_attr attr);

/**
 * Share all of the lower half of a space with an empty one: pages are mapped in both
 * and to be copied when written to (struct loam_translation says so): the page
 * fault handler copies and calls loam_space_batch_replace(). Guards and tags are copied.
 *
 * @param child  from loam_space_create(), nothing mapped, used by nobody
 * @param parent whose lower half nobody else changes meanwhile, though CPUs run on it
 *
 * @return LOAM_OK: list @p child with loam_space_next() to count the references;
 *         LOAM_NO_MEMORY: too few tables; LOAM_STATE: @p child has mappings, or
 *         @p parent held frames. O(pages); flushes @p parent
 */
LOAM_NODISCARD enum loam_status loam_space_clone(struct loam_space *child,
                                                 struct loam_space *parent);

/* ---- looking ------------------------------------------------------------- */

struct loam_translation {
    loam_phys phys;        /* of the byte asked for */
    struct loam_attr attr; /* effective: EXEC is set where the CPU has no NX */
    uint64_t page_size;    /* bytes: 4 KiB, 2 MiB or 1 GiB */
    bool is_cow;           /* shared: WRITE, if it is in attr, is withheld until it is copied */
    loam_page_bits bits;   /* accessed, dirty */
    unsigned soft;         /* bits 9-11 of the entry: the caller's */
};

/*
 * Context of the next three: any, NMI and fault handlers, too; no lock, never waits
 * but for CPUs that give tables back at this moment. The answer is that of one
 * moment between call and return.
 */

/**
 * What is mapped at @p virt.
 *
 * @return LOAM_OK; LOAM_NOT_FOUND: nothing; LOAM_INVALID: not canonical. *out is
 *         written on LOAM_OK only
 */
LOAM_NODISCARD enum loam_status loam_space_query(const struct loam_space *space, loam_virt virt,
                                                 struct loam_translation *out);

/** Physical address of the byte at @p virt; loam_phys_none() if it is not mapped. */
LOAM_NODISCARD loam_phys loam_space_translate(const struct loam_space *space, loam_virt virt);

struct loam_entry {
    enum loam_entry_kind kind;
    uint64_t value;     /* of a guard or tag; the address of what is held */
    uint64_t raw;       /* the entry that ends the walk */
    uint64_t page_size; /* bytes that it covers */
    unsigned level;     /* 1..5; 1 has small pages */
    loam_phys where;    /* of the entry */
};

/**
 * The entry that decides about @p virt: for page fault handlers, and for kernels
 * with ideas of their own.
 *
 * @return LOAM_OK; LOAM_INVALID: not canonical, *out untouched
 */
LOAM_NODISCARD enum loam_status loam_space_entry(const struct loam_space *space, loam_virt virt,
                                                 struct loam_entry *out);

/**
 * Set software bits 9 to 11 of all pages of the range, which Loam only keeps.
 *
 * @param soft 0..7
 *
 * @return as loam_space_batch_unmap(). Needs no flush: processors ignore them
 */
LOAM_NODISCARD enum loam_status loam_space_set_soft(struct loam_space *space,
                                                    struct loam_virt_range virt, unsigned soft);

/* Neighbouring pages of one size, one attribute set and contiguous backing; or
 * neighbouring entries of one kind that are not present. */
struct loam_mapping {
    struct loam_virt_range virt;
    enum loam_entry_kind kind; /* never EMPTY */
    loam_phys phys;            /* of a page, or what is held */
    struct loam_attr attr;     /* of a page */
    bool is_cow;               /* likewise */
    uint64_t value;            /* of a guard or tag */
    uint64_t page_size;
};

/**
 * The lowest run of entries in use that has a byte at or above @p from; the run is not
 * extended below @p from's page, nor over more than 512 tables: 1 GiB of small pages.
 * Restart at its end to iterate; it ended the address space if that is 0. O(run
 * length), with interrupts off.
 *
 * @return LOAM_OK; LOAM_NOT_FOUND: nothing at or above @p from
 *
 * Context: any CPU, any interrupt state, not NMI; all locks of the space, or, in the
 * higher half, of the kernel's.
 */
LOAM_NODISCARD enum loam_status loam_space_next(struct loam_space *space, loam_virt from,
                                                struct loam_mapping *out);

/**
 * Is a page table of the space in this memory? O(tables), with interrupts off: for checks.
 *
 * Context: as loam_space_next().
 */
LOAM_NODISCARD bool loam_space_has_table(struct loam_space *space, struct loam_phys_range range);

/**
 * @return NULL if sound: tables as many as counted, none empty, entries in use as many
 *         as counted, no reserved bit, no W+X page, rights as their half demands, the
 *         kernel's tables shared; else the broken rule. Must be quiet.
 */
LOAM_NODISCARD const char *loam_space_audit(const struct loam_space *space);

/** @return digest of all entries in use, but for accessed and dirty bits, and of the
 * number of tables; the higher half only of who owns it. Must be quiet. */
LOAM_NODISCARD uint64_t loam_space_digest(const struct loam_space *space);

#ifdef __cplusplus
}
#endif
#endif
