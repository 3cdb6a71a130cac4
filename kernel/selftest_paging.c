/*
 * selftest_paging.c - all CPUs change page tables at random and use what is mapped, all
 * the time: a soak of paging, tlb and the kernel's hook. What is changed, and how it is
 * seen that somebody was not told, is in soak.h.
 *
 *     kernel's higher half    6 groups: any CPU changes them, and uses them
 *     a space in common       4 groups: the same, but used while a CPU runs on it
 *     a space of each CPU     2 groups, at addresses that the space in common has, too
 *
 * CPUs must be asked to flush in the worst moments, often enough: with interrupts off;
 * while they spin, with interrupts off, on a lock whose holder asks them; and while they
 * use the very pages.
 */
#include "instructions.h"
#include "layout.h"
#include "log.h"
#include "memory.h"
#include "probe.h"
#include "selftest.h"
#include "smp.h"
#include "soak.h"
#include "tlb.h"

#define CYCLES_MAX  UINT64_C(150000000000) /* then give up; of a soak three times as many */
#define DEAF_MIN    20u                    /* requests received with interrupts off */
#define SPIN_MIN    50u                    /* while spinning on a lock */
#define IN_USE_MIN  10u                    /* while using the pages */
#define PLACE       (LAYOUT_SCRATCH + UINT64_C(0x14000000))
#define PLACE_LOW   UINT64_C(0x300000000)
#define GROUP_BYTES UINT64_C(0x100000) /* two in each table */
#define SHARED      6u
#define COMMON      4u
#define OWN         2u
#define FRAMES      48u  /* of each CPU */
#define BATCH_MAX   16u  /* operations */
#define TRIES_MAX   64u  /* of operations, until one is flushed */
#define LOCKED_MAX  3u   /* groups */
#define USES        64u  /* of pages, one after the other */
#define DEAF_TURNS  512u /* that it is late */
#define HUNT_TURNS  4096u
#define NAMES       (UINT64_C(0x9a9e) << 48)

/* One CPU. */
static struct worker {
    struct soak_pool pool;
    struct loam_space space;
    struct loam_space *running;
    struct soak_group own[OWN];
    /* Where it is when it is asked to flush. */
    _Atomic(const struct soak_group *) in_use;
    _Atomic(bool) is_deaf, is_spinning;
} __attribute__((aligned(64))) workers[LOAM_CPUS_MAX];

uint64_t selftest_paging_operations = 10000;

static struct loam_space in_common;
static struct soak_group shared[SHARED], common[COMMON];
static struct loam_spinlock gate; /* spun on with interrupts off */
static struct loam_spinlock hunt; /* tried, never waited for */

static struct counts {
    _Atomic(uint64_t) batch, read, write, fault, stale_read;
    _Atomic(uint64_t) served, deaf, spinning, in_use;
} counts;

static uint64_t any(struct worker *worker, uint64_t below)
{
    return (stress_random(worker->pool.hand) >> 8) % below;
}

/* ---- being asked ------------------------------------------------------------------ */

static bool concerns(const struct loam_tlb_flush *flush, const struct soak_group *group)
{
    const uint64_t size = SOAK_PAGES * LOAM_PAGE_SIZE;
    if (group->start >> 63 == 0 && flush->space != &group->space->tlb)
        return false;
    for (unsigned i = 0; i < flush->range_count; i++) {
        const struct loam_tlb_range *range = &flush->range[i];
        const uint64_t bytes = range->page_count * range->page_size;
        if (range->start.addr - group->start < size || group->start - range->start.addr < bytes)
            return true;
    }
    return false;
}

static void watch(const struct loam_tlb_flush *flush)
{
    struct worker *worker = &workers[cpu_self()->index];
    const struct soak_group *group = atomic_load(&worker->in_use);
    stress_count(&counts.served);
    if (atomic_load(&worker->is_deaf))
        stress_count(&counts.deaf);
    if (atomic_load(&worker->is_spinning))
        stress_count(&counts.spinning);
    if (group != NULL && concerns(flush, group))
        stress_count(&counts.in_use);
}

/* ---- using pages -------------------------------------------------------------------- */

/* Half of the time the first group of the higher half. */
static struct soak_group *any_visible(struct worker *worker)
{
    const uint64_t kind = any(worker, 4);
    if (kind == 0 && worker->running == &in_common)
        return &common[any(worker, COMMON)];
    if (kind == 0 && worker->running == &worker->space)
        return &worker->own[any(worker, OWN)];
    return &shared[kind < 3 ? 0 : any(worker, SHARED)];
}

static void use_page(const struct soak_group *group, unsigned page, uint8_t value)
{
    const uint64_t at = group->start + page * LOAM_PAGE_SIZE;
    const unsigned place = cpu_self()->index % SOAK_WRITTEN;
    uint64_t name;
    if (!probe_read(at, &name)) {
        stress_count(&counts.fault);
        return;
    }
    stress_count(&counts.read);
    if (name != group->name + page)
        stress_count(&counts.stale_read);
    if (probe_write(at + offsetof(struct soak_frame, written) + place, value))
        stress_count(&counts.write);
}

static void use_group(struct worker *worker)
{
    const struct soak_group *group = any_visible(worker);
    atomic_store(&worker->in_use, group);
    for (unsigned i = 0; i < USES; i++)
        use_page(group, (unsigned)any(worker, SOAK_PAGES), (uint8_t)i);
    atomic_store(&worker->in_use, NULL);
}

/* With interrupts off, and late to serve: whoever asks waits. */
static void be_deaf(struct worker *worker)
{
    const uint64_t irq = loam_x86_irq_save();
    atomic_store(&worker->is_deaf, true);
    use_group(worker);
    for (unsigned i = 0; i < DEAF_TURNS; i++) {
        loam_x86_pause();
        tlb_serve();
    }
    atomic_store(&worker->is_deaf, false);
    loam_x86_irq_restore(irq);
}

/* ---- changing them ---------------------------------------------------------------- */

/* Some operations on some of these groups, of one space; one of them is to be flushed. */
static void change(struct worker *worker, struct soak_group *group, unsigned count) LOAM_UNCHECKED
{
    struct loam_space_batch batch;
    struct soak_group *locked[LOCKED_MAX];
    unsigned locked_count = 0;
    const uint64_t start = any(worker, count);
    for (unsigned i = 0; i < count && i < LOCKED_MAX; i++) {
        struct soak_group *one = &group[(start + i) % count];
        if (soak_lock(one))
            locked[locked_count++] = one;
    }
    if (locked_count == 0)
        return;
    loam_space_batch_begin(&batch, group->space);
    const uint64_t wanted = 1 + any(worker, BATCH_MAX);
    bool is_stale = false;
    for (uint64_t done = 0; done < wanted || (!is_stale && done < TRIES_MAX); done++)
        is_stale =
            soak_change(&worker->pool, &batch, locked[any(worker, locked_count)]) || is_stale;
    loam_space_batch_finish(&batch);
    stress_count(&counts.batch);
    soak_settle(&worker->pool);
    while (locked_count != 0)
        soak_unlock(locked[--locked_count]);
}

/* A group that any CPU may change, and that another CPU uses right now. @return NULL: none */
static struct soak_group *any_in_use(const struct worker *self)
{
    for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
        const struct soak_group *used = atomic_load(&workers[cpu].in_use);
        for (unsigned i = 0; i < SHARED && &workers[cpu] != self; i++) {
            if (used == &shared[i])
                return &shared[i];
        }
        for (unsigned i = 0; i < COMMON && &workers[cpu] != self; i++) {
            if (used == &common[i])
                return &common[i];
        }
    }
    return NULL;
}

/* One CPU at a time, and nobody waits for that: those who would wait use nothing. */
static void change_in_use(struct worker *worker)
{
    if (!loam_spinlock_try(&hunt))
        return;
    struct soak_group *group = any_in_use(worker);
    for (unsigned i = 0; i < HUNT_TURNS && group == NULL; i++) {
        loam_x86_pause();
        group = any_in_use(worker);
    }
    if (group != NULL)
        change(worker, group, 1);
    loam_spinlock_release(&hunt);
}

/* The holder of the gate asks those who spin on it. */
static void change_behind_gate(struct worker *worker)
{
    const uint64_t irq = loam_x86_irq_save();
    while (!loam_spinlock_try(&gate)) {
        atomic_store(&worker->is_spinning, true);
        tlb_serve();
        loam_x86_pause();
    }
    atomic_store(&worker->is_spinning, false);
    change(worker, shared, SHARED);
    loam_spinlock_release(&gate);
    loam_x86_irq_restore(irq);
}

static void run_on(struct worker *worker, struct loam_space *space)
{
    worker->running = space;
    loam_space_switch(space);
}

static void work_once(struct worker *worker)
{
    struct loam_space *const spaces[] = { &memory.space, &in_common, &worker->space };
    const uint64_t kind = any(worker, 64);
    if (kind < 22)
        change(worker, worker->own, OWN);
    else if (kind < 23)
        change(worker, common, COMMON);
    else if (kind < 24)
        change(worker, shared, SHARED);
    else if (kind < 25)
        change_behind_gate(worker);
    else if (kind < 34)
        change_in_use(worker);
    else if (kind < 38)
        be_deaf(worker);
    else if (kind < 60)
        use_group(worker);
    else
        run_on(worker, spaces[any(worker, 3)]);
}

static void work(void *unused)
{
    struct worker *worker = &workers[cpu_self()->index];
    (void)unused;
    worker->pool.hand = stress_begin();
    for (uint64_t round = 0; stress_goes_on(worker->pool.hand, round); round++)
        work_once(worker);
    stress_end();
    run_on(worker, &memory.space);
}

/* @param of_soak what a soak must reach */
static unsigned least(unsigned of_soak)
{
    return stress_wanted(
        (unsigned)(of_soak * selftest_paging_operations / SELFTEST_SOAK_OPERATIONS));
}

static bool is_enough(void)
{
    return atomic_load(&stress_counts.made) >= selftest_paging_operations &&
           atomic_load(&counts.deaf) >= least(DEAF_MIN) &&
           atomic_load(&counts.spinning) >= least(SPIN_MIN) &&
           atomic_load(&counts.in_use) >= least(IN_USE_MIN);
}

/* ---- the test ----------------------------------------------------------------------- */

static enum loam_status create(struct loam_space *space)
{
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_create(space, &memory.space);
    while (loam_more_tables(&memory, st, &more));
    return st;
}

static void name_groups(struct soak_group *group, unsigned count, struct loam_space *space,
                        uint64_t start)
{
    static uint64_t last_name;
    for (unsigned i = 0; i < count; i++) {
        last_name += SOAK_PAGES;
        group[i] = (struct soak_group){ .space = space,
                                        .start = start + i * GROUP_BYTES,
                                        .name = NAMES + last_name };
    }
}

/* @return of how many CPUs; with a space each */
static unsigned set_up(bool *all_good)
{
    unsigned made = 0;
    name_groups(shared, SHARED, &memory.space, PLACE);
    name_groups(common, COMMON, &in_common, PLACE_LOW);
    *all_good = true;
    for (; made < cpu_count() && *all_good; made++) {
        struct worker *worker = &workers[made];
        if (create(&worker->space) != LOAM_OK) {
            *all_good = false;
            break;
        }
        worker->running = &memory.space;
        name_groups(worker->own, OWN, &worker->space, PLACE_LOW);
        *all_good = soak_pool_fill(&worker->pool, FRAMES);
    }
    return made;
}

static const char *destroy(struct loam_space *space)
{
    const char *broken = loam_space_audit(space);
    if (loam_space_destroy(space) != LOAM_OK && broken == NULL)
        broken = "a space cannot be destroyed";
    return broken;
}

static void keep_first(const char **first, const char *wrong)
{
    if (*first == NULL)
        *first = wrong;
}

/* @return what is wrong with a space */
static const char *tear_down(unsigned made)
{
    const char *wrong = loam_space_audit(&memory.space);
    uint64_t more = 0;
    for (unsigned i = 0; i < SHARED; i++)
        soak_empty(&workers[0].pool, &shared[i]);
    for (unsigned i = 0; i < COMMON; i++)
        soak_empty(&workers[0].pool, &common[i]);
    for (unsigned i = 0; i < made; i++) {
        keep_first(&wrong, loam_space_audit(&workers[i].space));
        for (unsigned k = 0; k < OWN; k++)
            soak_empty(&workers[i].pool, &workers[i].own[k]);
        soak_pool_empty(&workers[i].pool);
        keep_first(&wrong, destroy(&workers[i].space));
    }
    keep_first(&wrong, destroy(&in_common));
    (void)!loam_more_tables(&memory, LOAM_OK, &more); /* what they left in stock */
    return wrong;
}

static void report(void)
{
    log_info("paging: %lu operations on %u CPUs in %lu batches; beside them %lu reads, %lu "
             "writes, %lu faults; %lu reads and %lu writes were stale",
             atomic_load(&stress_counts.made), cpu_count(), atomic_load(&counts.batch),
             atomic_load(&counts.read), atomic_load(&counts.write), atomic_load(&counts.fault),
             atomic_load(&counts.stale_read), atomic_load(&soak_stale_writes));
    log_info("paging: asked to flush %lu times: %lu with interrupts off, %lu while spinning on a "
             "lock, %lu while using those pages; at least %u, %u and %u were wanted",
             atomic_load(&counts.served), atomic_load(&counts.deaf), atomic_load(&counts.spinning),
             atomic_load(&counts.in_use), least(DEAF_MIN), least(SPIN_MIN), least(IN_USE_MIN));
}

static void soak(void)
{
    static struct stress_job job = { .work = work, .is_enough = is_enough };
    const bool is_long = selftest_paging_operations >= SELFTEST_SOAK_OPERATIONS;

    job.cycles_max = is_long ? 3 * CYCLES_MAX : CYCLES_MAX; /* a busy host runs few CPUs at once */
    tlb_set_watch(watch);
    stress_run(&job);
    tlb_set_watch(NULL);
    report();
}

static const char *judge(void)
{
    if (atomic_load(&counts.stale_read) != 0)
        return "a CPU read through a translation that is no more";
    if (atomic_load(&soak_stale_writes) != 0)
        return "a CPU wrote through a translation that is no more";
    if (atomic_load(&stress_counts.wrong) != 0)
        return "a call did not do what it should have";
    return is_enough() ? NULL : "too few operations, or requests to flush in bad moments";
}

const char *selftest_paging(void)
{
    bool all_good;
    counts = (struct counts){ 0 };
    atomic_store(&soak_stale_writes, 0);
    if (create(&in_common) != LOAM_OK)
        return "no memory for a space";
    const unsigned made = set_up(&all_good);
    if (all_good)
        soak();
    const char *broken = tear_down(made);
    if (!all_good)
        return "no memory for spaces or frames";
    const char *wrong = judge();
    keep_first(&wrong, broken);
    keep_first(&wrong, memory_audit());
    return wrong;
}
