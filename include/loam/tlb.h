/*
 * tlb.h - which CPU may remember what of which address space, and making it forget.
 *
 *     loam_tlb               loam_tlb_cpu 0     loam_tlb_cpu 1
 *       online  { 0, 1 }       loaded  A          loaded  kernel
 *       kernel                 slot 1  A at 7     slot 1  A at 5
 *     loam_tlb_space A         slot 2  B at 3
 *       generation 7
 *       cpus    { 0 }        A's tables change: generation 8, and CPU 0 is asked.
 *                            CPU 1 finds 5 < 8 when it loads A again, and flushes.
 *
 * Knows no tables: who changes them says which pages in a batch, and frees nothing
 * before the batch is flushed.
 *
 * Half of the address space is each space's own; the higher half is shared, and a
 * change of it concerns all CPUs that are online. A CPU that is not online is asked
 * for nothing, and drops everything when it comes.
 */
#ifndef LOAM_TLB_H
#define LOAM_TLB_H

#include "cpu.h"

#ifdef __cplusplus
extern "C" {
#endif

/* More pages than this are one full flush. */
#define LOAM_TLB_PAGES_MAX 32u

/* Spaces that a CPU with PCIDs remembers beside the kernel's. */
#define LOAM_TLB_SLOTS 6u

struct loam_tlb;

/* An address space's part. All zeroes: not connected; then every CPU is asked. */
struct loam_tlb_space {
    struct loam_tlb *tlb; /* borrowed; NULL: not connected */
    loam_phys root;
    uint64_t id;                      /* never reused, never 0 */
    bool is_kernel;                   /* the one whose higher half is every space's */
    LOAM_ATOMIC(uint64_t) generation; /* up with each change of the lower half */
    struct loam_cpu_set cpus;         /* that have it loaded */
};

/* What a PCID's translations are of, and how old they may be. */
struct loam_tlb_slot {
    uint64_t space_id; /* 0: nothing */
    uint64_t generation;
    uint64_t kernel_generation;
};

/* One CPU's part; only it touches it, with interrupts off. */
struct loam_tlb_cpu {
    struct loam_tlb_space *loaded;                 /* NULL: not online */
    unsigned current;                              /* slot in use; its PCID, if there are PCIDs */
    unsigned next;                                 /* slot to be reused next */
    LOAM_ATOMIC(uint32_t) is_busy;                 /* in here; who interrupts that is an NMI */
    struct loam_tlb_slot slot[1 + LOAM_TLB_SLOTS]; /* the first is the kernel space's */
} __attribute__((aligned(64)));

/* One per machine; must not move. */
struct loam_tlb {
    struct loam_cpu_features features;
    unsigned cpu_count;
    LOAM_ATOMIC(uint64_t) next_id;
    /* Up with each change of the higher half that may be cached under any PCID. */
    LOAM_ATOMIC(uint64_t) kernel_generation;
    struct loam_tlb_space *kernel; /* borrowed; NULL: not connected yet */
    struct loam_cpu_set online;
    struct loam_tlb_cpu cpu[LOAM_CPUS_MAX];
};

/* ---- spaces and CPUs ------------------------------------------------------ */

/**
 * Begin with no space and no CPU.
 *
 * @param tlb       output
 * @param features  what loam_cpu_enter() is given on each CPU
 * @param cpu_count 1..LOAM_CPUS_MAX; numbers of CPUs that may ever come are below
 *
 * Context: before anybody uses @p tlb.
 */
void loam_tlb_init(struct loam_tlb *tlb, const struct loam_cpu_features *features,
                   unsigned cpu_count);

/**
 * Let a space's CPUs be known from now on. No CPU may have it loaded yet.
 *
 * @param space     not connected; must not move until it is disconnected
 * @param root      its top-level table
 * @param is_kernel it is the kernel space, which is connected first, and once
 *
 * Context: any, one caller for one space.
 */
void loam_tlb_connect(struct loam_tlb *tlb, struct loam_tlb_space *space, loam_phys root,
                      bool is_kernel);

/**
 * The end of a space: its tables may be freed afterwards.
 *
 * @return LOAM_OK, also if it is not connected; LOAM_STATE while a CPU has it loaded
 *
 * Context: any, one caller for one space; nobody loads it meanwhile.
 */
LOAM_NODISCARD enum loam_status loam_tlb_disconnect(struct loam_tlb_space *space);

/** @return has any CPU it loaded? May be past before you look. Context: any. */
LOAM_NODISCARD bool loam_tlb_is_loaded(const struct loam_tlb_space *space);

/**
 * This CPU runs on the kernel space, or will at the next load of CR3, and takes part in
 * flushes; loam_enter() calls it. Drops everything the CPU has cached. Again is
 * harmless.
 *
 * A CPU that is asked between this and its first interrupt must serve that request
 * before it waits for anybody.
 *
 * Context: that CPU, any interrupt state; loam_cpu_can_enter() has said yes.
 */
void loam_tlb_online(struct loam_tlb *tlb);

/**
 * This CPU touches nothing that may be unmapped until it comes online again. It has the
 * kernel space loaded. It may still be asked by CPUs that have begun before: it answers
 * until their hooks have returned.
 *
 * Context: that CPU, any interrupt state.
 */
void loam_tlb_offline(struct loam_tlb *tlb);

/**
 * Load CR3 with a space's root on this CPU, and drop what is stale of it. Nothing to do
 * if it is loaded already.
 *
 * @param space connected to @p tlb
 *
 * Context: any CPU that is online and on tables of @p tlb, any interrupt state, not
 * NMI; code and stack are in the higher half.
 */
void loam_tlb_switch(struct loam_tlb *tlb, struct loam_tlb_space *space);

/**
 * Drop what @p flush says on this CPU only: what loam_port_tlb_flush() runs on each.
 * Twice is harmless.
 *
 * Context: any but NMI, interrupt handlers included.
 */
void loam_tlb_flush_local(const struct loam_tlb_flush *flush);

/* ---- batches -------------------------------------------------------------- */

/* Changes of one space's tables that no CPU may still follow when the batch has
 * been flushed. On the caller's stack. */
struct loam_tlb_batch {
    struct loam_tlb_flush flush;
    uint64_t page_count; /* of all ranges */
    bool is_lower;       /* some of it is in the lower half */
    bool has_tables;     /* some table was unlinked */
    bool has_local;      /* some page of the higher half may not be global */
};

/** Begin with nothing in it. @param space connected or not. */
void loam_tlb_batch_begin(struct loam_tlb_batch *batch, struct loam_tlb_space *space);

/**
 * These pages were mapped, and are not any more, or otherwise. The tables have been
 * changed before.
 *
 * @param range     page-aligned, not empty, in one half; a multiple of @p page_size
 * @param page_size of the smallest page in it, in bytes: 4 KiB, 2 MiB or 1 GiB
 *
 * Ranges that touch become one; of more than LOAM_TLB_RANGES_MAX, or
 * LOAM_TLB_PAGES_MAX pages, a full flush.
 */
void loam_tlb_batch_add(struct loam_tlb_batch *batch, struct loam_virt_range range,
                        uint64_t page_size);

/** The same of pages in the higher half that were all global: cheaper with PCIDs. */
void loam_tlb_batch_add_global(struct loam_tlb_batch *batch, struct loam_virt_range range,
                               uint64_t page_size);

/** A table was unlinked that pages in the half of those ranges were reached through; without
 * a range: a full flush. */
void loam_tlb_batch_tables(struct loam_tlb_batch *batch);

/** Everything of the space; of the kernel space, both halves, on all CPUs. */
void loam_tlb_batch_full(struct loam_tlb_batch *batch);

/**
 * Make every CPU drop what is in the batch, and empty it.
 *
 * When this returns, no CPU uses what the tables were before: frames and tables may be
 * reused. Nothing in the batch: nothing is done.
 *
 * Context: any CPU, any interrupt state, not NMI, no lock held; interrupts are off in
 * parts. May call loam_port_tlb_flush(), with interrupts as the caller has them.
 */
void loam_tlb_batch_flush(struct loam_tlb_batch *batch);

/* ---- checks ---------------------------------------------------------------- */

/** @return NULL if sound, else the broken rule. Must be quiet. */
LOAM_NODISCARD const char *loam_tlb_audit(const struct loam_tlb *tlb);

/** @return digest of who has loaded what, and of every generation. Must be quiet. */
LOAM_NODISCARD uint64_t loam_tlb_digest(const struct loam_tlb *tlb);

#ifdef __cplusplus
}
#endif
#endif
