/*
 * stress.c - see stress.h.
 */
#include "stress.h"

#include "apic.h"
#include "instructions.h"
#include "smp.h"
#include "trap.h"

#define ROUNDS_PER_IPI 4u

struct mailbox {
    _Atomic(void *) slot[STRESS_SLOTS_MAX];
};

struct stress_counts stress_counts;

static const struct stress_job *job;
static struct mailbox mailboxes[LOAM_CPUS_MAX];
static struct stress_hand hands[LOAM_CPUS_MAX], handler_hands[LOAM_CPUS_MAX];

/* ---- in work and handlers ------------------------------------------------------ */

uint64_t stress_random(struct stress_hand *hand) /* xorshift64 */
{
    hand->random ^= hand->random << 13;
    hand->random ^= hand->random >> 7;
    hand->random ^= hand->random << 17;
    return hand->random;
}

void stress_count(_Atomic(uint64_t) *what)
{
    atomic_fetch_add_explicit(what, 1, memory_order_relaxed);
}

static void count_some(_Atomic(unsigned) *what)
{
    atomic_fetch_add_explicit(what, 1, memory_order_relaxed);
}

void stress_expect(bool holds)
{
    if (!holds)
        atomic_fetch_add(&stress_counts.wrong, 1);
}

void stress_count_from(unsigned cpu)
{
    if (cpu != cpu_self()->index)
        count_some(&stress_counts.cross);
}

void stress_send(struct stress_hand *hand, void *parcel)
{
    const uint64_t random = stress_random(hand);
    struct mailbox *box = &mailboxes[random % cpu_count()];
    void *other = atomic_exchange(&box->slot[(random >> 32) % job->slots], parcel);
    if (other != NULL)
        job->take_apart(hand, other);
}

static void empty_mailbox(struct stress_hand *hand, struct mailbox *box)
{
    for (unsigned i = 0; i < job->slots; i++) {
        void *parcel = atomic_exchange(&box->slot[i], NULL);
        if (parcel != NULL)
            job->take_apart(hand, parcel);
    }
}

void stress_receive(struct stress_hand *hand)
{
    empty_mailbox(hand, &mailboxes[cpu_self()->index]);
}

/* Every timer tick and IPI: take apart what the last one kept, make something, keep it
 * or send it. */
static void handle(const struct trap_frame *trap)
{
    struct stress_hand *hand = &handler_hands[cpu_self()->index];
    const uint64_t start = (uint64_t)(uintptr_t)job->text_start;
    if (trap->rip - start < (uint64_t)(uintptr_t)job->text_end - start)
        count_some(&stress_counts.inside);
    count_some(&stress_counts.handler);
    if (job->make == NULL)
        return;
    if (hand->kept != NULL)
        job->take_apart(hand, hand->kept);
    hand->kept = job->make(hand);
    if (hand->kept != NULL && stress_random(hand) % 2 == 0) {
        stress_send(hand, hand->kept);
        hand->kept = NULL;
    }
}

/* ---- rounds -------------------------------------------------------------------- */

unsigned stress_wanted(unsigned least)
{
    return cpu_count() == 1 ? 0 : least;
}

bool stress_is_enough(void)
{
    return atomic_load(&stress_counts.inside) >= stress_wanted(job->inside_min) &&
           atomic_load(&stress_counts.cross) >= stress_wanted(job->cross_min) &&
           (job->is_enough == NULL || job->is_enough());
}

struct stress_hand *stress_hand(void)
{
    return &hands[cpu_self()->index];
}

struct stress_hand *stress_begin(void)
{
    struct stress_hand *hand = stress_hand();
    hand->begin = x86_read_tsc();
    (void)apic_timer_start();
    return hand;
}

bool stress_goes_on(struct stress_hand *hand, uint64_t round)
{
    const bool is_late = x86_read_tsc() - hand->begin > job->cycles_max;
    if (round >= job->rounds_sure && (is_late || (round >= job->rounds && stress_is_enough())))
        return false;
    stress_count(&stress_counts.round);
    if (round % ROUNDS_PER_IPI == 0)
        apic_send(cpu_table[stress_random(hand) % cpu_count()].apic_id, VECTOR_WORK);
    return true;
}

void stress_end(void)
{
    apic_timer_stop();
}

/* ---- a job ---------------------------------------------------------------------- */

static void reset_counts(void)
{
    atomic_store(&stress_counts.round, 0);
    atomic_store(&stress_counts.made, 0);
    atomic_store(&stress_counts.freed, 0);
    atomic_store(&stress_counts.refused, 0);
    atomic_store(&stress_counts.wrong, 0);
    atomic_store(&stress_counts.cross, 0);
    atomic_store(&stress_counts.inside, 0);
    atomic_store(&stress_counts.handler, 0);
}

static void nothing(void *unused)
{
    (void)unused;
}

void stress_run(const struct stress_job *what)
{
    job = what;
    reset_counts();
    for (unsigned i = 0; i < cpu_count(); i++) {
        hands[i].random = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
        handler_hands[i].random = UINT64_C(0xd6e8feb86659fd93) * (i + 1);
    }
    trap_set_watch(handle);
    smp_run_all(job->work, NULL);
    trap_set_watch(NULL);
    smp_run_all(nothing, NULL); /* a handler may have been at work still: now it is done */
}

void stress_free_the_rest(void)
{
    struct stress_hand *hand = stress_hand();
    for (unsigned i = 0; i < cpu_count(); i++) {
        empty_mailbox(hand, &mailboxes[i]);
        if (handler_hands[i].kept != NULL)
            job->take_apart(hand, handler_hands[i].kept);
        handler_hands[i].kept = NULL;
    }
}
