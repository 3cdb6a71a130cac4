/*
 * demo_shootdown.c - one CPU unmaps pages that all others read and write, and uses
 * their frames for something else as soon as the batch is finished.
 *
 *     CPU 0                              the others, all the time
 *     map, of frames stamped "round n"   read a stamp, write a byte
 *     wait until each has read one
 *     unmap, finish the batch            page faults: caught and counted
 *     stamp the frames "reused"
 *     wait until each has faulted
 *     map other frames, "round n + 1"    a stamp of round n, or "reused", was stale
 *     are the old ones as they were left?    if not, a write was stale
 */
#include "demos.h"
#include "instructions.h"
#include "layout.h"
#include "log.h"
#include "memory.h"
#include "probe.h"
#include "smp.h"

#include <stdatomic.h>

#define PLACE      (LAYOUT_SCRATCH + UINT64_C(0x10000000))
#define PAGES      8u
#define ROUNDS     50u
#define SETS       2u /* of frames: one is mapped, the other one is looked at */
#define REUSED     UINT64_C(0x5ca1ab1e5ca1ab1e)
#define MARK       UINT64_C(0xfeed) /* in the highest 16 bits of a stamp */
#define CYCLES_MAX UINT64_C(20000000000)

/* What each of the others counts, a cache line apart. */
static struct user {
    _Atomic(uint64_t) read_count, write_count, fault_count, stale_count;
} __attribute__((aligned(64))) users[LOAM_CPUS_MAX];

static struct loam_phys_range sets[SETS];
static _Atomic(bool) is_over;
static bool went_well;

static uint64_t stamp_of(uint64_t round, uint64_t page)
{
    return MARK << 48 | round << 16 | page;
}

static void count(_Atomic(uint64_t) *what)
{
    atomic_fetch_add_explicit(what, 1, memory_order_relaxed);
}

/* ---- the others ------------------------------------------------------------------ */

/* One page. @return the round that its stamp tells; @p round if it faults */
static uint64_t use_page(struct user *user, unsigned cpu, uint64_t page, uint64_t round)
{
    const uint64_t at = PLACE + page * LOAM_PAGE_SIZE;
    uint64_t stamp;
    if (!probe_read(at, &stamp)) {
        count(&user->fault_count);
        return round;
    }
    count(&user->read_count);
    const uint64_t told = stamp >> 16 & 0xffffffff;
    if (stamp != stamp_of(told, page) || told < round)
        count(&user->stale_count);
    if (probe_write(at + sizeof stamp + cpu, (uint8_t)told))
        count(&user->write_count);
    else
        count(&user->fault_count);
    return told;
}

static void use_pages(struct user *user, unsigned cpu)
{
    uint64_t round = 0;
    for (uint64_t i = 0; !atomic_load_explicit(&is_over, memory_order_relaxed); i++)
        round = use_page(user, cpu, i % PAGES, round);
}

/* ---- the one ---------------------------------------------------------------------- */

static uint64_t *words_of(const struct loam_phys_range *set)
{
    return loam_hhdm_pointer(memory.tables.hhdm, set->start);
}

static void stamp_set(const struct loam_phys_range *set, uint64_t round)
{
    const uint64_t page_words = LOAM_PAGE_SIZE / sizeof(uint64_t);
    for (uint64_t page = 0; page < PAGES; page++)
        words_of(set)[page * page_words] = stamp_of(round, page);
}

/* All of it, since users write anywhere. */
static void reuse_set(const struct loam_phys_range *set)
{
    for (uint64_t i = 0; i < set->size / sizeof(uint64_t); i++)
        words_of(set)[i] = REUSED;
}

static bool is_as_left(const struct loam_phys_range *set)
{
    bool all = true;
    for (uint64_t i = 0; i < set->size / sizeof(uint64_t); i++)
        all = all && words_of(set)[i] == REUSED;
    return all;
}

/* Until each of the others has counted one more: what it does, it does now. */
static bool wait_for_all(bool faults)
{
    uint64_t before[LOAM_CPUS_MAX];
    const uint64_t start = x86_read_tsc();
    for (unsigned i = 0; i < cpu_count(); i++)
        before[i] = atomic_load(faults ? &users[i].fault_count : &users[i].read_count);
    for (unsigned i = 0; i < cpu_count(); i++) {
        _Atomic(uint64_t) *now = faults ? &users[i].fault_count : &users[i].read_count;
        if (i == cpu_self()->index || atomic_load(&cpu_table[i].state) != CPU_READY)
            continue;
        while (atomic_load(now) == before[i]) {
            if (x86_read_tsc() - start > CYCLES_MAX)
                return false;
            loam_x86_pause();
        }
    }
    return true;
}

static bool unmap_place(struct loam_virt_range place)
{
    LOAM_SPACE_BATCH(batch, &memory.space);
    const enum loam_status st = loam_space_batch_unmap(&batch, place);
    loam_space_batch_finish(&batch);
    return st == LOAM_OK;
}

static bool run_rounds(void)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB };
    const struct loam_virt_range place =
        loam_virt_range_of(loam_virt_at(PLACE), PAGES * LOAM_PAGE_SIZE);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        const struct loam_phys_range *set = &sets[round % SETS];
        if (!is_as_left(set)) {
            log_error("a CPU wrote to a frame that was unmapped");
            return false;
        }
        stamp_set(set, round);
        if (loam_map(&memory, place, set->start, attr) != LOAM_OK)
            return false;
        const bool all_read = wait_for_all(false);
        if (!unmap_place(place))
            return false;
        reuse_set(set);
        if (!all_read || !wait_for_all(true)) {
            log_error(all_read ? "a CPU does not see that the range is unmapped"
                               : "a CPU does not see that the range is mapped");
            return false;
        }
    }
    return is_as_left(&sets[0]) && is_as_left(&sets[1]);
}

static void work(void *unused)
{
    const unsigned cpu = cpu_self()->index;
    (void)unused;
    if (cpu != 0) {
        use_pages(&users[cpu], cpu);
        return;
    }
    went_well = run_rounds();
    atomic_store(&is_over, true);
}

/* ---- the demo ---------------------------------------------------------------------- */

static bool report(void)
{
    uint64_t read_count = 0, write_count = 0, fault_count = 0, stale_count = 0;
    for (unsigned i = 0; i < cpu_count(); i++) {
        read_count += atomic_load(&users[i].read_count);
        write_count += atomic_load(&users[i].write_count);
        fault_count += atomic_load(&users[i].fault_count);
        stale_count += atomic_load(&users[i].stale_count);
    }
    log_info("%u pages at 0x%016lx were unmapped, and mapped to other frames, %u times", PAGES,
             PLACE, ROUNDS);
    if (cpu_count() == 1)
        log_info("there is one CPU: nobody else could hold a stale translation");
    else
        log_info("%u CPUs used them: %lu reads, %lu writes, %lu page faults, %lu stale reads",
                 cpu_count() - 1, read_count, write_count, fault_count, stale_count);
    return stale_count == 0;
}

bool demo_shootdown(struct loam_locked *heap)
{
    const struct loam_frame_request request = { .page_count = PAGES };
    bool all_good = false;
    unsigned taken = 0;
    (void)heap;
    for (unsigned i = 0; i < LOAM_CPUS_MAX; i++)
        users[i] = (struct user){ 0 };
    atomic_store(&is_over, false);
    while (taken < SETS &&
           loam_take(&memory, &request, LOAM_OWNER_KERNEL, &sets[taken]) == LOAM_OK) {
        reuse_set(&sets[taken]);
        taken++;
    }
    if (taken == SETS) {
        smp_run_all(work, NULL);
        all_good = report() && went_well;
    }
    while (taken != 0)
        all_good = loam_give(&memory, sets[--taken], LOAM_OWNER_KERNEL) == LOAM_OK && all_good;
    return all_good;
}
