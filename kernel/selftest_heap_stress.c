/*
 * selftest_heap_stress.c - all CPUs and their interrupt handlers in the kernel's heap
 * at once. A block is allocated and filled on one CPU, sent to another, checked and
 * freed there: stress.h.
 *
 * An interrupt counts as inside the allocator if the instruction it stopped is one of
 * the heap's or its lock's. The heap's lock keeps interrupts off while it is held, so
 * they arrive before that, after, and with a spin lock while it is waited for. It runs
 * until there were enough of them.
 *
 * A heap that grows has no lock in the usual case: it may be interrupted anywhere, and
 * handlers then go around its lists. It also has large blocks, and now and then a CPU has
 * it trimmed. At the end it has as many pages as before, but for its own records.
 *
 * A bump heap takes part like the others. It gives memory back only when nothing is
 * live, so that it may be full before the end: requests that are refused are counted.
 */
#include "layout.h"
#include "log.h"
#include "malloc.h"
#include "selftest.h"
#include "stress.h"
#include "text.h"

#define INSIDE_MIN      20u                   /* interrupts inside the allocator */
#define CROSS_MIN       1000u                 /* frees on another CPU than the allocation */
#define ROUNDS_MIN      4000u                 /* of each CPU */
#define CYCLES_MAX      UINT64_C(30000000000) /* then give up */
#define BOX_SLOTS       64u
#define BYTES_MAX       700u
#define LARGE_BYTES_MAX 6000u
#define LARGE_ONE_IN    32u
#define PAGES_BYTES_MAX 100000u /* of a heap that grows */
#define PAGES_ONE_IN    256u
#define TRIM_ONE_IN     512u

/* A block in use: what it must hold. The rest is filled with its mark. */
struct parcel {
    size_t size_bytes;
    uint32_t sender; /* index of the CPU that allocated it */
    uint8_t mark;
};

static _Atomic(uint64_t) resize_count, trim_count;

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

static size_t bytes_max(uint64_t random)
{
    if (random % PAGES_ONE_IN == 0 && memory_heap_grows())
        return PAGES_BYTES_MAX;
    return random % LARGE_ONE_IN == 0 ? LARGE_BYTES_MAX : BYTES_MAX;
}

static void *make(struct stress_hand *hand)
{
    const uint64_t random = stress_random(hand);
    const size_t most = bytes_max(random);
    const size_t size = sizeof(struct parcel) + (random >> 8) % most;
    const size_t align = (size_t)LOAM_MALLOC_ALIGN << (random >> 32) % 4;
    struct parcel *parcel;
    switch (random >> 40 & 3) {
    case 0:
        parcel = calloc(size, 1);
        stress_expect(parcel == NULL || is_filled(parcel, size, 0));
        break;
    case 1:
        parcel = aligned_alloc(align, size);
        stress_expect((uintptr_t)parcel % align == 0);
        break;
    default:
        parcel = malloc(size);
        stress_expect((uintptr_t)parcel % LOAM_MALLOC_ALIGN == 0);
        break;
    }
    stress_count(parcel != NULL ? &stress_counts.made : &stress_counts.refused);
    if (parcel == NULL)
        return NULL;
    *parcel = (struct parcel){ size, cpu_self()->index, (uint8_t)(random >> 48) };
    memset(parcel + 1, parcel->mark, size - sizeof *parcel);
    return parcel;
}

/* Twice the size and back, sometimes: the contents go along. */
static struct parcel *resize(struct stress_hand *hand, struct parcel *parcel)
{
    if (stress_random(hand) % 8 != 0)
        return parcel;
    const size_t size = parcel->size_bytes;
    struct parcel *moved = realloc(parcel, 2 * size);
    stress_count(moved != NULL ? &resize_count : &stress_counts.refused);
    if (moved == NULL)
        return parcel;
    moved->size_bytes = 2 * size;
    memset((uint8_t *)moved + size, moved->mark, size);
    return moved;
}

/* Check that nobody else wrote to it, and free it. */
static void take_apart(struct stress_hand *hand, void *what)
{
    struct parcel *parcel = resize(hand, what);
    const size_t size = parcel->size_bytes, usable = malloc_usable_size(parcel);
    stress_expect(usable == 0 || usable >= size); /* 0: a bump heap does not know */
    stress_expect(is_filled(parcel + 1, size - sizeof *parcel, parcel->mark));
    stress_count_from(parcel->sender);
    if (stress_random(hand) % 2 == 0)
        free_sized(parcel, size);
    else
        free(parcel);
    stress_count(&stress_counts.freed);
}

static void work(void *unused)
{
    struct stress_hand *hand = stress_begin();
    (void)unused;
    for (uint64_t round = 0; stress_goes_on(hand, round); round++) {
        void *parcel = make(hand);
        if (parcel != NULL)
            stress_send(hand, parcel);
        if (stress_random(hand) % 4 == 0)
            stress_receive(hand);
        if (stress_random(hand) % TRIM_ONE_IN == 0 && memory_heap_grows()) {
            (void)loam_heap_trim(&memory.cpu_heap);
            stress_count(&trim_count);
        }
    }
    stress_end();
}

const char *selftest_heap_stress(void)
{
    static const struct stress_job job = {
        .work = work,
        .make = make,
        .take_apart = take_apart,
        .rounds = ROUNDS_MIN,
        .cycles_max = CYCLES_MAX,
        .inside_min = INSIDE_MIN,
        .cross_min = CROSS_MIN,
        .slots = BOX_SLOTS,
        .text_start = kernel_heap_text_start,
        .text_end = kernel_heap_text_end,
    };
    const struct memory_snapshot before = memory_snapshot_take();
    atomic_store(&resize_count, 0);
    atomic_store(&trim_count, 0);
    stress_run(&job);
    stress_free_the_rest();
    const uint64_t allocs = atomic_load(&stress_counts.made);
    const uint64_t frees = atomic_load(&stress_counts.freed);
    log_info("heap stress: %lu operations on %u CPUs, %u interrupts inside the allocator, %u frees "
             "across CPUs",
             allocs + frees + atomic_load(&resize_count), cpu_count(),
             atomic_load(&stress_counts.inside), atomic_load(&stress_counts.cross));
    log_info("heap stress: at least %u and %u were wanted; %u handlers took part, %lu requests "
             "were refused",
             stress_wanted(INSIDE_MIN), stress_wanted(CROSS_MIN),
             atomic_load(&stress_counts.handler), atomic_load(&stress_counts.refused));
    if (memory_heap_grows())
        log_info("heap stress: trimmed %lu times, by any CPU", atomic_load(&trim_count));
    if (atomic_load(&stress_counts.wrong) != 0)
        return "a block changed, or was not what was asked for";
    if (allocs != frees)
        return "not every block came back";
    if (!stress_is_enough())
        return "too few interrupts inside the allocator, or frees across CPUs";
    if (!memory_snapshot_holds(&before, "heap stress"))
        return "not every page came back";
    return memory_audit();
}
