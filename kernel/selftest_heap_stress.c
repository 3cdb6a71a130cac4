/*
 * selftest_heap_stress.c - all CPUs and their interrupt handlers in the kernel's heap
 * at once. A block is allocated and filled on one CPU, sent to another, checked and
 * freed there.
 *
 *     CPU 0  allocate, fill ----> mailbox of CPU 2 ----> CPU 2  check, free
 *            ^ timer, IPI                                ^ timer, IPI
 *            handler does the same                       handler does the same
 *
 * An interrupt counts as inside the allocator if the instruction it stopped is one
 * of the heap's or its lock's (kernel.ld gathers them). The heap's lock keeps
 * interrupts off while it is held, so they arrive before that, after, and with a spin
 * lock while it is waited for. It runs until there were enough of them.
 *
 * A bump heap takes part like the others. It gives memory back only when nothing is
 * live, so that it may be full before the end: requests that are refused are counted.
 */
#include "apic.h"
#include "instructions.h"
#include "layout.h"
#include "log.h"
#include "malloc.h"
#include "selftest.h"
#include "smp.h"
#include "text.h"
#include "trap.h"

#define INSIDE_MIN      20u                   /* interrupts inside the allocator */
#define CROSS_MIN       1000u                 /* frees on another CPU than the allocation */
#define ROUNDS_MIN      4000u                 /* of each CPU */
#define CYCLES_MAX      UINT64_C(30000000000) /* then give up */
#define ROUNDS_PER_IPI  4u
#define BOX_SLOTS       64u
#define BYTES_MAX       700u
#define LARGE_BYTES_MAX 6000u
#define LARGE_ONE_IN    32u

/* A block in use: what it must hold. The rest is filled with its mark. */
struct parcel {
    size_t size_bytes;
    uint32_t sender; /* index of the CPU that allocated it */
    uint8_t mark;
};

struct mailbox {
    _Atomic(struct parcel *) slot[BOX_SLOTS];
};

/* Each CPU has one, and another for its handlers: these come at any time. */
struct hand {
    uint64_t random;
    struct parcel *kept; /* by the handlers */
};

static struct mailbox mailboxes[LOAM_CPUS_MAX];
static struct hand hands[LOAM_CPUS_MAX], handler_hands[LOAM_CPUS_MAX];
static _Atomic(uint64_t) alloc_count, free_count, resize_count, refused_count;
static _Atomic(unsigned) wrong_count, cross_count, inside_count, handler_count;

static void count(_Atomic(uint64_t) *what)
{
    atomic_fetch_add_explicit(what, 1, memory_order_relaxed);
}

static void expect(bool holds)
{
    if (!holds)
        atomic_fetch_add(&wrong_count, 1);
}

static uint64_t next_random(struct hand *hand) /* xorshift64 */
{
    hand->random ^= hand->random << 13;
    hand->random ^= hand->random >> 7;
    hand->random ^= hand->random << 17;
    return hand->random;
}

/* ---- one block ----------------------------------------------------------------- */

static bool is_filled(const void *from, size_t size, uint8_t mark)
{
    const uint8_t *byte = from;
    for (size_t i = 0; i < size; i++) {
        if (byte[i] != mark)
            return false;
    }
    return true;
}

static struct parcel *make(struct hand *hand)
{
    const uint64_t random = next_random(hand);
    const size_t most = random % LARGE_ONE_IN == 0 ? LARGE_BYTES_MAX : BYTES_MAX;
    const size_t size = sizeof(struct parcel) + (random >> 8) % most;
    const size_t align = (size_t)LOAM_MALLOC_ALIGN << (random >> 32) % 4;
    struct parcel *parcel;
    switch (random >> 40 & 3) {
    case 0:
        parcel = calloc(size, 1);
        expect(parcel == NULL || is_filled(parcel, size, 0));
        break;
    case 1:
        parcel = aligned_alloc(align, size);
        expect((uintptr_t)parcel % align == 0);
        break;
    default:
        parcel = malloc(size);
        expect((uintptr_t)parcel % LOAM_MALLOC_ALIGN == 0);
        break;
    }
    count(parcel != NULL ? &alloc_count : &refused_count);
    if (parcel == NULL)
        return NULL;
    *parcel = (struct parcel){ size, cpu_self()->index, (uint8_t)(random >> 48) };
    memset(parcel + 1, parcel->mark, size - sizeof *parcel);
    return parcel;
}

/* Twice the size and back, sometimes: the contents go along. */
static struct parcel *resize(struct hand *hand, struct parcel *parcel)
{
    if (next_random(hand) % 8 != 0)
        return parcel;
    const size_t size = parcel->size_bytes;
    struct parcel *moved = realloc(parcel, 2 * size);
    count(moved != NULL ? &resize_count : &refused_count);
    if (moved == NULL)
        return parcel;
    moved->size_bytes = 2 * size;
    memset((uint8_t *)moved + size, moved->mark, size);
    return moved;
}

/* Check that nobody else wrote to it, and free it. */
static void take_apart(struct hand *hand, struct parcel *parcel)
{
    const size_t size = parcel->size_bytes, usable = malloc_usable_size(parcel);
    expect(usable == 0 || usable >= size); /* 0: a bump heap does not know */
    expect(is_filled(parcel + 1, size - sizeof *parcel, parcel->mark));
    if (parcel->sender != cpu_self()->index)
        atomic_fetch_add_explicit(&cross_count, 1, memory_order_relaxed);
    if (next_random(hand) % 2 == 0)
        free_sized(parcel, size);
    else
        free(parcel);
    count(&free_count);
}

/* To any CPU; if its mailbox is full, it is not sent. */
static void send(struct hand *hand, struct parcel *parcel)
{
    const uint64_t random = next_random(hand);
    struct mailbox *box = &mailboxes[random % cpu_count()];
    struct parcel *other = atomic_exchange(&box->slot[(random >> 32) % BOX_SLOTS], parcel);
    if (other != NULL)
        take_apart(hand, other);
}

static void empty_mailbox(struct hand *hand, struct mailbox *box)
{
    for (unsigned i = 0; i < BOX_SLOTS; i++) {
        struct parcel *parcel = atomic_exchange(&box->slot[i], NULL);
        if (parcel != NULL)
            take_apart(hand, resize(hand, parcel));
    }
}

/* ---- handlers and CPUs ----------------------------------------------------------- */

/* Every timer tick and IPI: free what the last one kept, allocate, keep or send. */
static void handle(const struct trap_frame *frame)
{
    struct hand *hand = &handler_hands[cpu_self()->index];
    const uint64_t start = (uint64_t)(uintptr_t)kernel_heap_text_start;
    const uint64_t size = (uint64_t)(uintptr_t)kernel_heap_text_end - start;
    if (frame->rip - start < size)
        atomic_fetch_add_explicit(&inside_count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&handler_count, 1, memory_order_relaxed);
    if (hand->kept != NULL)
        take_apart(hand, resize(hand, hand->kept));
    hand->kept = make(hand);
    if (hand->kept != NULL && next_random(hand) % 2 == 0) {
        send(hand, hand->kept);
        hand->kept = NULL;
    }
}

/* One CPU alone has nobody to send to, and is interrupted by its timer only. */
static bool is_enough(void)
{
    const bool alone = cpu_count() == 1;
    return atomic_load(&inside_count) >= (alone ? 0 : INSIDE_MIN) &&
           atomic_load(&cross_count) >= (alone ? 0 : CROSS_MIN);
}

static void work(void *unused)
{
    const unsigned cpu = cpu_self()->index;
    struct hand *hand = &hands[cpu];
    const uint64_t start = x86_read_tsc();
    (void)unused;
    (void)apic_timer_start();
    for (uint64_t round = 0; round < ROUNDS_MIN || !is_enough(); round++) {
        if (x86_read_tsc() - start > CYCLES_MAX)
            break;
        struct parcel *parcel = make(hand);
        if (parcel != NULL)
            send(hand, parcel);
        if (next_random(hand) % 4 == 0)
            empty_mailbox(hand, &mailboxes[cpu]);
        if (round % ROUNDS_PER_IPI == 0)
            apic_send(cpu_table[next_random(hand) % cpu_count()].apic_id, VECTOR_WORK);
    }
    apic_timer_stop();
}

/* ---- the test ---------------------------------------------------------------------- */

static void start(void)
{
    atomic_store(&alloc_count, 0);
    atomic_store(&free_count, 0);
    atomic_store(&resize_count, 0);
    atomic_store(&refused_count, 0);
    atomic_store(&wrong_count, 0);
    atomic_store(&cross_count, 0);
    atomic_store(&inside_count, 0);
    atomic_store(&handler_count, 0);
    for (unsigned i = 0; i < cpu_count(); i++) {
        hands[i].random = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
        handler_hands[i].random = UINT64_C(0xd6e8feb86659fd93) * (i + 1);
    }
}

/* The watch is gone, but a handler may be at work still: run something on each CPU. */
static void nothing(void *unused)
{
    (void)unused;
}

static void free_the_rest(void)
{
    for (unsigned i = 0; i < cpu_count(); i++) {
        empty_mailbox(&hands[0], &mailboxes[i]);
        if (handler_hands[i].kept != NULL)
            take_apart(&hands[0], handler_hands[i].kept);
        handler_hands[i].kept = NULL;
    }
}

const char *selftest_heap_stress(void)
{
    start();
    trap_set_watch(handle);
    smp_run_all(work, NULL);
    trap_set_watch(NULL);
    smp_run_all(nothing, NULL);
    free_the_rest();
    const uint64_t allocs = atomic_load(&alloc_count), frees = atomic_load(&free_count);
    log_info("heap stress: %lu operations on %u CPUs, %u interrupts inside the allocator, %u frees "
             "across CPUs",
             allocs + frees + atomic_load(&resize_count), cpu_count(), atomic_load(&inside_count),
             atomic_load(&cross_count));
    log_info("heap stress: at least %u and %u were wanted; %u handlers took part, %lu requests "
             "were refused",
             cpu_count() == 1 ? 0 : INSIDE_MIN, cpu_count() == 1 ? 0 : CROSS_MIN,
             atomic_load(&handler_count), atomic_load(&refused_count));
    if (atomic_load(&wrong_count) != 0)
        return "a block changed, or was not what was asked for";
    if (allocs != frees)
        return "not every block came back";
    if (!is_enough())
        return "too few interrupts inside the allocator, or frees across CPUs";
    return memory_audit();
}
