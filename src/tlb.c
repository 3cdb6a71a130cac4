/*
 * tlb.c - see tlb.h.
 *
 * Why no CPU uses a translation after the flush of its change has returned
 * ------------------------------------------------------------------------
 * In the one order of all sequentially consistent operations, with G a space's
 * generation and C its set of CPUs:
 *
 *     who flushes                        who loads the space
 *     f1  tables are changed             s1  C has me
 *     f2  G = G + 1                      s2  g = G
 *     f3  read C                         s3  load CR3; drop its PCID if slot < g
 *     f4  ask those in C, wait           s4  the space before forgets me
 *
 * Tables are changed by plain stores, which a processor may make seen only after later
 * loads, and after an INVLPGB: an exchange before f2 ends that (tlb_begin_flush).
 *
 * - f3 before s1: then f2 before s2, so g counts the change. The slot is older, and
 *   s3 drops all of the PCID; what is walked later sees f1.
 * - s1 before f3: the CPU is asked, and its handler runs after s3, since interrupts
 *   are off from s1 to s4. It drops the pages, or does nothing if g counts the
 *   change already: then s3 has dropped them, after f1.
 * - The CPU leaves (s4) before f3: CR3 names another space by then, so nothing of
 *   this one is used or walked, not speculatively either. Its slot keeps g, and is
 *   older than G when the space is loaded again.
 * A slot's generation says: nothing from before it is cached under this PCID. So a
 * handler that finds its slot one generation behind drops the pages; further
 * behind, a request for another change is still on its way or was left out while
 * the CPU was away, and all of the PCID goes.
 *
 * The higher half: C is the set of CPUs online, which change it once in a lifetime
 * (loam_tlb_online: s1, then everything is dropped). INVLPG drops a page of the
 * current PCID, the global translation of it, and the upper-level entries of the
 * current PCID. What else may be cached under other PCIDs - pages that are not
 * global, tables - is counted by kernel_generation as G is: raised before C is read,
 * read when a slot is loaded, after every request that was served before. A request
 * served while the slot is loaded reaches what is cached under its PCID.
 *
 * INVLPGB drops on every CPU and under every PCID; it needs no generation.
 */
#include <loam/tlb.h>

#include <stdatomic.h>

#include <loam/x86.h>

#include "internal/check.h"
#include "internal/digest.h"

#define TLB_SET_WORDS (sizeof(struct loam_cpu_set) / sizeof(uint64_t))

LOAM_STATIC_ASSERT(LOAM_TLB_SLOTS < 4096, "a slot's index is its PCID");

/* ---- sets of CPUs --------------------------------------------------------- */

bool loam_cpu_set_has(const struct loam_cpu_set *set, unsigned cpu)
{
    return cpu < LOAM_CPUS_MAX && (atomic_load(&set->word[cpu / 64]) >> cpu % 64 & 1) != 0;
}

static void tlb_set_add(struct loam_cpu_set *set, unsigned cpu)
{
    atomic_fetch_or(&set->word[cpu / 64], UINT64_C(1) << cpu % 64);
}

static void tlb_set_remove(struct loam_cpu_set *set, unsigned cpu)
{
    atomic_fetch_and(&set->word[cpu / 64], ~(UINT64_C(1) << cpu % 64));
}

static bool tlb_set_is_empty(const struct loam_cpu_set *set)
{
    uint64_t any = 0;
    for (size_t i = 0; i < TLB_SET_WORDS; i++)
        any |= atomic_load(&set->word[i]);
    return any == 0;
}

/* Those of @p from but @p cpu. @return is there any? */
static bool tlb_set_others(struct loam_cpu_set *to, const struct loam_cpu_set *from, unsigned cpu)
{
    uint64_t any = 0;
    for (unsigned i = 0; i < TLB_SET_WORDS; i++) {
        uint64_t word = atomic_load(&from->word[i]);
        if (i == cpu / 64)
            word &= ~(UINT64_C(1) << cpu % 64);
        atomic_store_explicit(&to->word[i], word, memory_order_relaxed); /* nobody sees it yet */
        any |= word;
    }
    return any != 0;
}

static void tlb_set_fill(struct loam_cpu_set *set)
{
    for (unsigned cpu = 0; cpu < LOAM_CPUS_MAX; cpu++)
        tlb_set_add(set, cpu);
}

static void tlb_set_clear(struct loam_cpu_set *set)
{
    for (size_t i = 0; i < TLB_SET_WORDS; i++)
        atomic_store_explicit(&set->word[i], 0, memory_order_relaxed);
}

/* ---- this CPU ------------------------------------------------------------- */

/* Where we are: interrupts are off between enter and leave. */
struct tlb_here {
    struct loam_tlb_cpu *cpu;
    unsigned index;
    uint64_t irq;
};

static struct tlb_here tlb_enter(struct loam_tlb *tlb)
{
    const uint64_t irq = loam_x86_irq_save();
    const unsigned index = loam_port_cpu();

    LOAM_REQUIRE(index < tlb->cpu_count, "tlb: a CPU beyond those announced", index,
                 tlb->cpu_count);
    const struct tlb_here here = { &tlb->cpu[index], index, irq };
    LOAM_REQUIRE(atomic_load_explicit(&here.cpu->is_busy, memory_order_relaxed) == 0,
                 "tlb: called from an NMI", index, 0);
    atomic_store_explicit(&here.cpu->is_busy, 1, memory_order_relaxed);
    return here;
}

static void tlb_leave(struct tlb_here here)
{
    atomic_store_explicit(&here.cpu->is_busy, 0, memory_order_relaxed);
    loam_x86_irq_restore(here.irq);
}

/* All that is cached under the slot's PCID from now on was walked after this. */
static void tlb_stamp(const struct loam_tlb *tlb, struct loam_tlb_slot *slot,
                      const struct loam_tlb_space *space)
{
    slot->space_id = space->id;
    slot->generation = atomic_load(&space->generation);
    slot->kernel_generation = atomic_load(&tlb->kernel_generation);
}

/* CR3 for the current slot. */
static uint64_t tlb_cr3(const struct loam_tlb *tlb, const struct loam_tlb_cpu *cpu)
{
    return cpu->loaded->root.addr | (tlb->features.pcid ? cpu->current : 0);
}

/* All translations of all PCIDs, but where there are PCIDs and neither INVPCID nor
 * PGE: then those of the current one. */
static void tlb_drop_all(bool has_invpcid)
{
    const uint64_t cr4 = loam_x86_read_cr4();

    if (has_invpcid) {
        loam_x86_invpcid(LOAM_INVPCID_ALL, 0, loam_virt_at(0));
    } else if ((cr4 & LOAM_CR4_PGE) != 0) {
        loam_x86_write_cr4(cr4 & ~LOAM_CR4_PGE);
        loam_x86_write_cr4(cr4);
    } else {
        loam_x86_write_cr3(loam_x86_read_cr3());
    }
}

/* Everything. Where the other PCIDs stay, for want of PGE, they are behind the kernel
 * generation by now. */
static void tlb_drop_everything(const struct loam_tlb *tlb, struct loam_tlb_cpu *cpu)
{
    if (cpu->loaded != NULL)
        tlb_stamp(tlb, &cpu->slot[cpu->current], cpu->loaded);
    tlb_drop_all(tlb->features.invpcid);
}

static void tlb_drop_range(const struct loam_tlb_range *range)
{
    for (uint64_t i = 0; i < range->page_count; i++)
        loam_x86_invlpg(loam_virt_at(range->start.addr + i * range->page_size));
}

static bool tlb_is_higher(loam_virt virt)
{
    return virt.addr >> 63 != 0;
}

/* What loam_tlb_flush_local() does where the space is connected. */
static void tlb_apply(const struct loam_tlb *tlb, struct loam_tlb_cpu *cpu,
                      const struct loam_tlb_flush *flush)
{
    struct loam_tlb_slot *const slot = &cpu->slot[cpu->current];
    bool is_stale = cpu->loaded == flush->space && slot->generation < flush->generation;

    if (flush->is_full && flush->is_kernel) {
        tlb_drop_everything(tlb, cpu);
        return;
    }
    if (is_stale && (flush->is_full || slot->generation + 1 != flush->generation)) {
        tlb_stamp(tlb, slot, flush->space);
        loam_x86_write_cr3(tlb_cr3(tlb, cpu)); /* drops this PCID */
        is_stale = false;
    }
    for (unsigned i = 0; i < flush->range_count; i++) {
        if (is_stale || tlb_is_higher(flush->range[i].start))
            tlb_drop_range(&flush->range[i]);
    }
    if (is_stale)
        slot->generation = flush->generation;
    if (slot->kernel_generation + 1 == flush->kernel_generation)
        slot->kernel_generation = flush->kernel_generation;
}

/* Of a space that is not connected nothing is known. */
static void tlb_apply_unconnected(const struct loam_tlb_flush *flush)
{
    const uint64_t irq = loam_x86_irq_save(); /* CR4 is this CPU's */

    for (unsigned i = 0; i < flush->range_count && !flush->is_full; i++)
        tlb_drop_range(&flush->range[i]);
    if (flush->is_full)
        tlb_drop_all(false);
    loam_x86_irq_restore(irq);
}

void loam_tlb_flush_local(const struct loam_tlb_flush *flush)
{
    struct loam_tlb *const tlb = flush->space->tlb;

    if (tlb == NULL) {
        tlb_apply_unconnected(flush);
        return;
    }
    const struct tlb_here here = tlb_enter(tlb);
    tlb_apply(tlb, here.cpu, flush);
    tlb_leave(here);
}

/* ---- spaces and CPUs ------------------------------------------------------ */

void loam_tlb_init(struct loam_tlb *tlb, const struct loam_cpu_features *features,
                   unsigned cpu_count)
{
    LOAM_REQUIRE(cpu_count >= 1 && cpu_count <= LOAM_CPUS_MAX,
                 "tlb: CPU count is not in 1..LOAM_CPUS_MAX", cpu_count, LOAM_CPUS_MAX);
    __builtin_memset(tlb, 0, sizeof(*tlb));
    tlb->features = *features;
    tlb->cpu_count = cpu_count;
}

void loam_tlb_connect(struct loam_tlb *tlb, struct loam_tlb_space *space, loam_phys root,
                      bool is_kernel)
{
    LOAM_REQUIRE(space->tlb == NULL, "tlb: the space is connected already", root.addr, space->id);
    LOAM_REQUIRE((tlb->kernel == NULL) == is_kernel,
                 "tlb: one kernel space is connected, before all others", root.addr, is_kernel);
    LOAM_REQUIRE(loam_is_page_aligned(root.addr), "tlb: root is not the address of a table",
                 root.addr, 0);
    __builtin_memset(space, 0, sizeof(*space));
    space->root = root;
    space->id = atomic_fetch_add(&tlb->next_id, 1) + 1;
    space->is_kernel = is_kernel;
    space->tlb = tlb;
    if (is_kernel)
        tlb->kernel = space;
}

bool loam_tlb_is_loaded(const struct loam_tlb_space *space)
{
    return !tlb_set_is_empty(&space->cpus);
}

enum loam_status loam_tlb_disconnect(struct loam_tlb_space *space)
{
    if (space->tlb == NULL)
        return LOAM_OK;
    if (loam_tlb_is_loaded(space))
        return LOAM_STATE;
    if (space->is_kernel)
        space->tlb->kernel = NULL;
    space->tlb = NULL;
    return LOAM_OK;
}

void loam_tlb_online(struct loam_tlb *tlb)
{
    LOAM_REQUIRE(tlb->kernel != NULL, "tlb: no kernel space is connected", 0, 0);
    const struct tlb_here here = tlb_enter(tlb);
    struct loam_tlb_cpu *const cpu = here.cpu;

    LOAM_REQUIRE(cpu->loaded == NULL || cpu->loaded == tlb->kernel,
                 "tlb: it came online with another space than the kernel's", here.index, 0);
    cpu->loaded = tlb->kernel;
    cpu->current = 0;
    cpu->next = 1;
    tlb_set_add(&tlb->kernel->cpus, here.index);
    tlb_set_add(&tlb->online, here.index);
    tlb_drop_everything(tlb, cpu);
    tlb_leave(here);
}

void loam_tlb_offline(struct loam_tlb *tlb)
{
    const struct tlb_here here = tlb_enter(tlb);

    LOAM_REQUIRE(here.cpu->loaded != NULL && here.cpu->loaded == tlb->kernel,
                 "tlb: it goes offline without the kernel space loaded", here.index, 0);
    here.cpu->loaded = NULL;
    tlb_set_remove(&tlb->online, here.index);
    tlb_set_remove(&tlb->kernel->cpus, here.index);
    tlb_leave(here);
}

/* The slot that has the space, else the next one. */
static unsigned tlb_slot_of(const struct loam_tlb *tlb, struct loam_tlb_cpu *cpu,
                            const struct loam_tlb_space *space)
{
    if (space->is_kernel || !tlb->features.pcid)
        return 0;
    for (unsigned i = 1; i <= LOAM_TLB_SLOTS; i++) {
        if (cpu->slot[i].space_id == space->id)
            return i;
    }
    const unsigned victim = cpu->next;
    cpu->next = victim % LOAM_TLB_SLOTS + 1;
    return victim;
}

void loam_tlb_switch(struct loam_tlb *tlb, struct loam_tlb_space *space)
{
    LOAM_REQUIRE(space->tlb == tlb, "tlb: the space is not connected", space->root.addr, space->id);
    const struct tlb_here here = tlb_enter(tlb);
    struct loam_tlb_cpu *const cpu = here.cpu;
    struct loam_tlb_space *const left = cpu->loaded;

    LOAM_REQUIRE(left != NULL, "tlb: this CPU is not online", here.index, space->id);
    if (left != space) {
        tlb_set_add(&space->cpus, here.index); /* s1 */
        cpu->current = tlb_slot_of(tlb, cpu, space);
        cpu->loaded = space;
        struct loam_tlb_slot *const slot = &cpu->slot[cpu->current];
        const struct loam_tlb_slot had = *slot;
        tlb_stamp(tlb, slot, space); /* s2 */
        const bool is_fresh = tlb->features.pcid && had.space_id == slot->space_id &&
                              had.generation == slot->generation &&
                              had.kernel_generation == slot->kernel_generation;
        loam_x86_write_cr3(tlb_cr3(tlb, cpu) | (is_fresh ? LOAM_CR3_KEEP : 0)); /* s3 */
        tlb_set_remove(&left->cpus, here.index);                                /* s4 */
    }
    tlb_leave(here);
}

/* ---- batches -------------------------------------------------------------- */

void loam_tlb_batch_begin(struct loam_tlb_batch *batch, struct loam_tlb_space *space)
{
    __builtin_memset(batch, 0, sizeof(*batch));
    batch->flush.space = space;
}

void loam_tlb_batch_full(struct loam_tlb_batch *batch)
{
    struct loam_tlb_flush *const flush = &batch->flush;

    flush->is_full = true;
    flush->is_kernel = flush->is_kernel || flush->space->is_kernel;
    batch->is_lower = true;
}

/* Does the range go on where the last one ends, in the same strides? */
static bool tlb_batch_extend(struct loam_tlb_flush *flush, const struct loam_tlb_range *range)
{
    if (flush->range_count == 0)
        return false;
    struct loam_tlb_range *const last = &flush->range[flush->range_count - 1];
    if (last->page_size != range->page_size ||
        last->start.addr + last->page_count * last->page_size != range->start.addr)
        return false;
    last->page_count += range->page_count;
    return true;
}

void loam_tlb_batch_add_global(struct loam_tlb_batch *batch, struct loam_virt_range range,
                               uint64_t page_size)
{
    struct loam_tlb_flush *const flush = &batch->flush;

    LOAM_REQUIRE(page_size == LOAM_PAGE_SIZE || page_size == LOAM_PAGE_SIZE << LOAM_ORDER_2M ||
                     page_size == LOAM_PAGE_SIZE << LOAM_ORDER_1G,
                 "tlb: no page has this size", page_size, range.start.addr);
    LOAM_REQUIRE(loam_is_page_aligned(range.start.addr) && range.size != 0 &&
                     (range.size & (page_size - 1)) == 0,
                 "tlb: range is not whole pages", range.start.addr, range.size);
    const bool is_higher = tlb_is_higher(range.start);
    LOAM_REQUIRE(range.size - 1 <= (is_higher ? UINT64_MAX : INT64_MAX) - range.start.addr,
                 "tlb: range is not in one half", range.start.addr, range.size);
    const struct loam_tlb_range pages = { range.start, range.size / page_size, page_size };

    flush->is_kernel = flush->is_kernel || is_higher;
    batch->is_lower = batch->is_lower || !is_higher;
    batch->page_count += pages.page_count;
    const bool is_little = batch->page_count <= LOAM_TLB_PAGES_MAX;
    if (is_little && tlb_batch_extend(flush, &pages))
        return;
    if (is_little && flush->range_count < LOAM_TLB_RANGES_MAX)
        flush->range[flush->range_count++] = pages;
    else
        loam_tlb_batch_full(batch);
}

void loam_tlb_batch_add(struct loam_tlb_batch *batch, struct loam_virt_range range,
                        uint64_t page_size)
{
    batch->has_local = batch->has_local || tlb_is_higher(range.start);
    loam_tlb_batch_add_global(batch, range, page_size);
}

void loam_tlb_batch_tables(struct loam_tlb_batch *batch)
{
    batch->has_tables = true;
}

/* The pages of a range, by INVLPGB. Strides are 4 KiB or 2 MiB only. */
static void tlb_broadcast_range(const struct loam_cpu_features *features,
                                const struct loam_tlb_range *range)
{
    const uint64_t what = LOAM_INVLPGB_VA | LOAM_INVLPGB_ASID | LOAM_INVLPGB_GLOBAL;
    const uint32_t stride = range->page_size == LOAM_PAGE_SIZE ? 0 : LOAM_INVLPGB_2M;
    const bool is_huge = range->page_size == LOAM_PAGE_SIZE << LOAM_ORDER_1G;
    const uint64_t most = is_huge ? 1 : features->invlpgb_pages;

    for (uint64_t done = 0; done < range->page_count;) {
        const uint64_t left = range->page_count - done;
        const uint64_t count = left < most ? left : most;
        const uint64_t page = range->start.addr + done * range->page_size;
        loam_x86_invlpgb(page | what, (uint32_t)(count - 1) | stride, 0);
        done += count;
    }
}

/* Interrupts are off: TLBSYNC waits for what this CPU has begun. */
static void tlb_broadcast(const struct loam_tlb *tlb, const struct loam_tlb_batch *batch)
{
    const struct loam_tlb_flush *const flush = &batch->flush;
    const uint64_t what =
        LOAM_INVLPGB_ASID | (flush->is_full && flush->is_kernel ? LOAM_INVLPGB_GLOBAL : 0);

    for (unsigned i = 0; i < flush->range_count && !flush->is_full; i++)
        tlb_broadcast_range(&tlb->features, &flush->range[i]);
    /* A table may have been reached through addresses beside the ranges. */
    if (flush->is_full || batch->has_tables)
        loam_x86_invlpgb(what, 0, 0);
    loam_x86_tlbsync();
}

/* Count the change, in what can be cached under a PCID that is not loaded. */
static void tlb_count_change(struct loam_tlb *tlb, struct loam_tlb_batch *batch)
{
    struct loam_tlb_flush *const flush = &batch->flush;
    const bool is_local = batch->has_tables || batch->has_local || !tlb->features.global_pages;

    if (batch->is_lower)
        flush->generation = atomic_fetch_add(&flush->space->generation, 1) + 1; /* f2 */
    if (flush->is_kernel && is_local)
        flush->kernel_generation = atomic_fetch_add(&tlb->kernel_generation, 1) + 1;
}

/* Flush here, and everywhere if the processor can; leave in the set whom to ask. */
static void tlb_begin_flush(struct loam_tlb *tlb, struct loam_tlb_batch *batch)
{
    struct loam_tlb_flush *const flush = &batch->flush;
    const struct tlb_here here = tlb_enter(tlb);
    const struct loam_cpu_set *const who = flush->is_kernel ? &tlb->online : &flush->space->cpus;

    (void)atomic_exchange(&here.cpu->is_busy, 1); /* f1 is seen by all */
    bool are_others = tlb->features.invlpgb && tlb_set_others(&flush->cpus, who, here.index);
    if (!are_others) {
        tlb_count_change(tlb, batch);
        are_others = tlb_set_others(&flush->cpus, who, here.index); /* f3 */
        tlb_apply(tlb, here.cpu, flush);
    }
    if (are_others && tlb->features.invlpgb) {
        tlb_broadcast(tlb, batch);
        tlb_set_clear(&flush->cpus);
    }
    tlb_leave(here);
}

void loam_tlb_batch_flush(struct loam_tlb_batch *batch)
{
    struct loam_tlb_flush *const flush = &batch->flush;
    struct loam_tlb *const tlb = flush->space->tlb;

    if (flush->range_count == 0 && batch->has_tables)
        loam_tlb_batch_full(batch);
    if (flush->range_count == 0 && !flush->is_full)
        return;
    if (tlb != NULL)
        tlb_begin_flush(tlb, batch);
    else
        tlb_set_fill(&flush->cpus);
    if (!tlb_set_is_empty(&flush->cpus))
        loam_port_tlb_flush(flush);
    loam_tlb_batch_begin(batch, flush->space);
}

/* ---- checks ---------------------------------------------------------------- */

static const char *tlb_audit_cpu(const struct loam_tlb *tlb, unsigned index)
{
    const struct loam_tlb_cpu *const cpu = &tlb->cpu[index];
    const struct loam_tlb_space *const space = cpu->loaded;

    if (loam_cpu_set_has(&tlb->online, index) != (space != NULL))
        return "tlb: a CPU is online and has no space loaded, or the other way round";
    if (space == NULL)
        return NULL;
    if (index >= tlb->cpu_count || space->tlb != tlb || !loam_cpu_set_has(&space->cpus, index))
        return "tlb: a CPU has a space loaded that does not know of it";
    if (cpu->current > LOAM_TLB_SLOTS || cpu->slot[cpu->current].space_id != space->id)
        return "tlb: the current slot is not the loaded space's";
    if (cpu->slot[cpu->current].generation > atomic_load(&space->generation))
        return "tlb: a slot is ahead of its space";
    for (unsigned i = 0; i <= LOAM_TLB_SLOTS; i++) {
        const struct loam_tlb_slot *const slot = &cpu->slot[i];
        if (slot->kernel_generation > atomic_load(&tlb->kernel_generation) ||
            slot->space_id > atomic_load(&tlb->next_id))
            return "tlb: a slot is of the future";
        for (unsigned k = 0; k < i; k++) {
            if (slot->space_id != 0 && cpu->slot[k].space_id == slot->space_id)
                return "tlb: two slots are of one space";
        }
    }
    return atomic_load(&cpu->is_busy) == 0 ? NULL : "tlb: a CPU is busy";
}

const char *loam_tlb_audit(const struct loam_tlb *tlb)
{
    const char *broken = NULL;

    if (tlb->kernel != NULL && (tlb->kernel->tlb != tlb || !tlb->kernel->is_kernel))
        return "tlb: the kernel space is not connected";
    for (unsigned i = 0; i < LOAM_CPUS_MAX && broken == NULL; i++)
        broken = tlb_audit_cpu(tlb, i);
    return broken;
}

uint64_t loam_tlb_digest(const struct loam_tlb *tlb)
{
    uint64_t digest = LOAM_DIGEST_START;

    digest = loam_digest_add(digest, atomic_load(&tlb->next_id));
    digest = loam_digest_add(digest, atomic_load(&tlb->kernel_generation));
    for (unsigned i = 0; i < tlb->cpu_count; i++) {
        const struct loam_tlb_cpu *const cpu = &tlb->cpu[i];
        digest = loam_digest_add(digest, cpu->loaded != NULL ? cpu->loaded->id : 0);
        digest = loam_digest_add(digest, (uint64_t)cpu->next << 32 | cpu->current);
        for (unsigned k = 0; k <= LOAM_TLB_SLOTS; k++) {
            digest = loam_digest_add(digest, cpu->slot[k].space_id);
            digest = loam_digest_add(digest, cpu->slot[k].generation);
            digest = loam_digest_add(digest, cpu->slot[k].kernel_generation);
        }
    }
    return digest;
}
