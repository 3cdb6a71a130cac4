/*
 * selftest_frames.c - all CPUs and their interrupt handlers in the frame allocator at
 * once. Frames are taken and marked on one CPU, sent to another, checked and freed
 * there: stress.h.
 *
 * Most memory is put aside first, untouched: in each zone some 2 MiB blocks stay, so
 * that it can be used up now and then, and what waits in lanes is drained. Every frame
 * bears a mark at its end: a frame given out twice has a wrong one when it is checked.
 * It runs until there were enough interrupts inside the allocator, frees on other CPUs,
 * and drains.
 */
#include "layout.h"
#include "log.h"
#include "memory.h"
#include "numa.h"
#include "selftest.h"
#include "smp.h"
#include "stress.h"

#define INSIDE_MIN       20u                   /* interrupts inside the allocator */
#define CROSS_MIN        1000u                 /* frees on another CPU than the allocation */
#define DRAINS_MIN       20u                   /* of what waits in lanes */
#define ROUNDS_MIN       4000u                 /* of each CPU */
#define CYCLES_MAX       UINT64_C(30000000000) /* then give up */
#define ROUNDS_PER_HOARD 1024u
#define ORDERS           10u /* 0 to 9: up to 2 MiB */
#define ZONE_BYTES       (UINT64_C(8) << 20)
#define BOX_SLOTS        128u
#define BULK_MAX         32u
#define RANGE_PAGES_MAX  48u
#define BY_RANGE         ORDERS /* in place of an order */
#define CHURN            8u     /* single frames that come and go at once, each round */

/* At the start of the first frame of an allocation. */
struct parcel {
    uint64_t mark;
    struct parcel *next; /* in a hoard */
    uint32_t page_count;
    uint32_t sender; /* index of the CPU that took it */
    unsigned order;  /* or BY_RANGE */
    bool charged;    /* in the ledger: taken by loam_take_frames() */
};

/* At the end of every frame. */
struct seal {
    uint64_t mark, address;
};

/* At the start of memory that is put aside. */
struct aside {
    struct aside *next;
    struct loam_phys_range range;
};

static struct loam_frame *const frames = &memory.frame;
static struct aside *put_aside;
static uint64_t drains_before;
static _Atomic(uint64_t) order_count[ORDERS];
static _Atomic(unsigned) hoard_count;

static uint64_t drains(void)
{
    return atomic_load(&frames->drain_count) - drains_before;
}

static void *pointer_to(loam_phys phys)
{
    return loam_hhdm_pointer(memory.tables.hhdm, phys);
}

static loam_phys address_of(const void *pointer)
{
    return loam_hhdm_phys(memory.tables.hhdm, loam_virt_of(pointer));
}

/* ---- memory that takes no part --------------------------------------------------- */

static void keep_aside(loam_phys start, uint64_t size)
{
    struct aside *aside = pointer_to(start);
    *aside = (struct aside){ put_aside, loam_phys_range_of(start, size) };
    put_aside = aside;
}

/* All that is free in blocks of 2 MiB and more, but for some of each zone. */
static void put_memory_aside(void)
{
    uint64_t left[LOAM_ZONES] = { ZONE_BYTES, ZONE_BYTES, ZONE_BYTES };
    put_aside = NULL;
    for (unsigned order = LOAM_ORDER_MAX + 1; order-- > LOAM_ORDER_2M;) {
        loam_phys block;
        while (!loam_phys_is_none(block = loam_frame_alloc(frames, order, LOAM_ZONE_ANY)))
            keep_aside(block, loam_order_bytes(order));
    }
    struct aside *all = put_aside;
    put_aside = NULL;
    while (all != NULL) {
        struct loam_phys_range range = all->range;
        uint64_t *room = &left[loam_zone_of(range.start)];
        const uint64_t back = range.size < *room ? range.size : *room;
        all = all->next;
        *room -= back;
        range.size -= back;
        if (range.size != 0)
            keep_aside(range.start, range.size);
        if (back != 0)
            loam_frame_release(
                frames, loam_phys_range_of(loam_phys_at(range.start.addr + range.size), back));
    }
}

static void take_it_back(void)
{
    while (put_aside != NULL) {
        const struct loam_phys_range range = put_aside->range;
        put_aside = put_aside->next;
        loam_frame_release(frames, range);
    }
}

/* ---- one allocation ---------------------------------------------------------------- */

static struct seal *seal_of(struct parcel *parcel, uint32_t page)
{
    return (struct seal *)((char *)parcel + (page + 1) * LOAM_PAGE_SIZE) - 1;
}

/* Mark all frames of an allocation whose other fields are known. */
static struct parcel *wrap(struct stress_hand *hand, loam_phys start, struct parcel what)
{
    struct parcel *parcel = pointer_to(start);
    what.mark = stress_random(hand);
    what.sender = cpu_self()->index;
    *parcel = what;
    for (uint32_t i = 0; i < parcel->page_count; i++) {
        struct seal *seal = seal_of(parcel, i);
        *seal = (struct seal){ parcel->mark + i, address_of(seal).addr };
    }
    stress_count(&stress_counts.made);
    return parcel;
}

/* The frames belong to nobody from now on: whoever else believes so finds no mark. */
static bool break_seals(struct parcel *parcel)
{
    bool all_good = true;
    for (uint32_t i = 0; i < parcel->page_count; i++) {
        struct seal *seal = seal_of(parcel, i);
        all_good &= seal->mark == parcel->mark + i && seal->address == address_of(seal).addr;
        *seal = (struct seal){ 0, 0 };
    }
    return all_good;
}

static void free_charged(struct stress_hand *hand, loam_phys start, const struct parcel *what)
{
    const unsigned order = stress_random(hand) % 4 != 0 ? what->order : 0; /* page by page */
    const uint64_t step = loam_order_bytes(order);
    for (uint64_t at = 0; at < what->page_count * LOAM_PAGE_SIZE; at += step)
        loam_give_frames(&memory, loam_phys_at(start.addr + at), order, LOAM_OWNER_KERNEL);
}

/* As one block, as pages that happen to be neighbours, or as a range. */
static void free_in_some_way(struct stress_hand *hand, loam_phys start, const struct parcel *what)
{
    const uint64_t random = stress_random(hand);
    const struct loam_phys_range range =
        loam_phys_range_of(start, what->page_count * LOAM_PAGE_SIZE);
    if (what->charged) {
        free_charged(hand, start, what);
    } else if (what->order != BY_RANGE && random % 4 != 0) {
        loam_frame_free(frames, start, what->order);
    } else if (random % 8 < 4) {
        loam_frame_release(frames, range);
    } else {
        for (uint32_t i = 0; i < what->page_count; i++)
            loam_frame_free(frames, loam_phys_at(start.addr + i * LOAM_PAGE_SIZE), 0);
    }
    if ((random >> 32) % 32 == 0 && loam_frame_reserve(frames, range) == LOAM_OK)
        loam_frame_release(frames, range); /* nobody was faster */
}

/* Check that nobody else wrote to it, and free it. */
static void take_apart(struct stress_hand *hand, void *what)
{
    struct parcel *parcel = what;
    const struct parcel known = *parcel;
    stress_expect(known.page_count != 0 && known.order <= BY_RANGE && break_seals(parcel));
    stress_count_from(known.sender);
    free_in_some_way(hand, address_of(parcel), &known);
    stress_count(&stress_counts.freed);
}

/* ---- taking ---------------------------------------------------------------------- */

static bool is_in_zone(loam_phys start, uint64_t size, enum loam_zone zone)
{
    return loam_zone_of(loam_phys_at(start.addr + size - 1)) >= zone;
}

/* Half of them counted as the kernel's. */
static struct parcel *take_block(struct stress_hand *hand, unsigned order, enum loam_zone zone)
{
    const bool charged = stress_random(hand) % 2 == 0;
    const loam_phys block = charged ? loam_take_frames(&memory, order, zone, LOAM_OWNER_KERNEL)
                                    : loam_frame_alloc(frames, order, zone);
    if (loam_phys_is_none(block)) {
        stress_count(&stress_counts.refused);
        return NULL;
    }
    stress_expect((block.addr & (loam_order_bytes(order) - 1)) == 0);
    stress_expect(is_in_zone(block, loam_order_bytes(order), zone));
    stress_count(&order_count[order]);
    return wrap(hand, block,
                (struct parcel){ .page_count = 1u << order, .order = order, .charged = charged });
}

/* Of one CPU's node, whoever asks; without nodes that is all memory. */
static struct parcel *take_block_on(struct stress_hand *hand, unsigned order, enum loam_zone zone)
{
    const uint32_t node = numa.cpu_node[stress_random(hand) % cpu_count()];
    const loam_phys block = loam_frame_alloc_on(frames, order, zone, node);
    if (loam_phys_is_none(block)) {
        stress_count(&stress_counts.refused);
        return NULL;
    }
    stress_expect(is_in_zone(block, loam_order_bytes(order), zone));
    return wrap(hand, block, (struct parcel){ .page_count = 1u << order, .order = order });
}

static struct parcel *take_range(struct stress_hand *hand)
{
    const uint64_t random = stress_random(hand);
    const struct loam_frame_request request = {
        .page_count = 1 + random % RANGE_PAGES_MAX,
        .align_bytes = LOAM_PAGE_SIZE << (random >> 8) % 6,
        .limit = random >> 16 & 1 ? LOAM_ZONE_4G_END : 0,
        .boundary_bytes = random >> 17 & 1 ? UINT64_C(1) << 20 : 0,
    };
    const uint64_t size = request.page_count * LOAM_PAGE_SIZE;
    loam_phys start;
    if (loam_frame_alloc_range(frames, &request, &start) != LOAM_OK) {
        stress_count(&stress_counts.refused);
        return NULL;
    }
    const uint64_t last = start.addr + (size - 1);
    stress_expect(start.addr % request.align_bytes == 0);
    stress_expect(request.limit == 0 || last < request.limit);
    stress_expect(request.boundary_bytes == 0 ||
                  ((start.addr ^ last) & ~(request.boundary_bytes - 1)) == 0);
    return wrap(hand, start,
                (struct parcel){ .page_count = (uint32_t)request.page_count, .order = BY_RANGE });
}

/* Single frames at once: half of them are freed so, too, the others sent. */
static void take_bulk(struct stress_hand *hand, enum loam_zone zone)
{
    loam_phys block[BULK_MAX];
    const size_t wanted = 1 + stress_random(hand) % BULK_MAX;
    const size_t got = loam_frame_alloc_bulk(frames, zone, block, wanted);
    if (got < wanted)
        stress_count(&stress_counts.refused);
    for (size_t i = 0; i < got; i++) {
        stress_expect(is_in_zone(block[i], LOAM_PAGE_SIZE, zone));
        (void)wrap(hand, block[i], (struct parcel){ .page_count = 1 });
    }
    const size_t kept = got / 2;
    for (size_t i = kept; i < got; i++)
        stress_send(hand, pointer_to(block[i]));
    for (size_t i = 0; i < kept; i++) {
        stress_expect(break_seals(pointer_to(block[i])));
        stress_count(&stress_counts.freed);
    }
    loam_frame_free_bulk(frames, block, kept);
}

/* Nothing but the allocator's own instructions, so that interrupts meet some. */
static void churn(void)
{
    for (unsigned i = 0; i < CHURN; i++) {
        const loam_phys frame = loam_frame_alloc(frames, 0, LOAM_ZONE_ANY);
        if (loam_phys_is_none(frame)) {
            stress_count(&stress_counts.refused);
            return;
        }
        stress_count(&stress_counts.made);
        loam_frame_free(frames, frame, 0);
        stress_count(&stress_counts.freed);
    }
}

/* Everything there is, in blocks of this order, then of smaller ones; then all of it
 * back. @return frames */
static uint64_t hoard(struct stress_hand *hand, unsigned largest)
{
    struct parcel *all = NULL;
    uint64_t got = 0;
    for (unsigned order = largest + 1; order-- > 0;) {
        struct parcel *parcel;
        while ((parcel = take_block(hand, order, LOAM_ZONE_ANY)) != NULL) {
            parcel->next = all;
            all = parcel;
            got += parcel->page_count;
        }
    }
    while (all != NULL) {
        struct parcel *parcel = all;
        all = parcel->next;
        take_apart(hand, parcel);
    }
    atomic_fetch_add(&hoard_count, 1);
    return got;
}

static enum loam_zone any_zone(struct stress_hand *hand)
{
    const uint64_t random = stress_random(hand) % 4;
    return random < LOAM_ZONES ? (enum loam_zone)random : LOAM_ZONE_ANY;
}

/* Half of them single frames, a quarter pairs, and so on. */
static unsigned any_order(struct stress_hand *hand)
{
    const uint64_t random = stress_random(hand);
    return (unsigned)__builtin_ctzll(random | UINT64_C(1) << (ORDERS - 1));
}

/* ---- handlers and CPUs ----------------------------------------------------------- */

/* What a handler takes. */
static void *take_small(struct stress_hand *hand)
{
    return take_block(hand, any_order(hand) % 4, any_zone(hand));
}

static bool are_drains_enough(void)
{
    return drains() >= DRAINS_MIN;
}

static void take_something(struct stress_hand *hand, uint64_t round)
{
    const uint64_t kind = stress_random(hand) % 16;
    struct parcel *parcel = NULL;
    if (kind == 0)
        take_bulk(hand, any_zone(hand));
    else if (kind == 1)
        parcel = take_range(hand);
    else if (kind < 4)
        parcel = take_block_on(hand, any_order(hand), any_zone(hand));
    else
        parcel =
            take_block(hand, round < ORDERS ? (unsigned)round : any_order(hand), any_zone(hand));
    if (parcel != NULL)
        stress_send(hand, parcel);
}

static void work(void *unused)
{
    struct stress_hand *hand = stress_begin();
    (void)unused;
    for (uint64_t round = 0; stress_goes_on(hand, round); round++) {
        take_something(hand, round);
        churn();
        if (stress_random(hand) % 4 == 0)
            stress_receive(hand);
        if (round % ROUNDS_PER_HOARD == ROUNDS_PER_HOARD - 1)
            (void)hoard(hand, (unsigned)(stress_random(hand) % ORDERS));
    }
    stress_end();
}

/* ---- the test ---------------------------------------------------------------------- */

static void start(void)
{
    atomic_store(&hoard_count, 0);
    for (unsigned i = 0; i < ORDERS; i++)
        atomic_store(&order_count[i], 0);
    put_memory_aside();
    drains_before = atomic_load(&frames->drain_count);
}

static uint64_t free_frames(void)
{
    struct loam_frame_stats stats;
    uint64_t all = 0;
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        loam_frame_measure(frames, (enum loam_zone)zone, &stats);
        all += stats.free_count;
    }
    return all;
}

/* Leaves free frames in the CPU's lane. */
static void fill_lane(void *unused)
{
    (void)unused;
    churn();
}

/* What waits in the other CPUs' lanes included, one CPU gets all that is free: frame by
 * frame, since requests for more drain the lanes as they begin. */
static bool one_gets_all(void)
{
    smp_run_all(fill_lane, NULL);
    const uint64_t all = free_frames();
    return hoard(stress_hand(), 0) == all;
}

static void report(void)
{
    log_info("frames: %lu operations on %u CPUs, %u interrupts inside the allocator, %u frees "
             "across CPUs, %lu drains",
             atomic_load(&stress_counts.made) + atomic_load(&stress_counts.freed), cpu_count(),
             atomic_load(&stress_counts.inside), atomic_load(&stress_counts.cross), drains());
    log_info("frames: at least %u, %u and %u were wanted; %u handlers took part, %lu requests "
             "were refused, memory was used up %u times",
             stress_wanted(INSIDE_MIN), stress_wanted(CROSS_MIN), DRAINS_MIN,
             atomic_load(&stress_counts.handler), atomic_load(&stress_counts.refused),
             atomic_load(&hoard_count));
    for (unsigned i = 0; i < ORDERS; i++)
        log_text("%s%lu%s", i == 0 ? "INFO  frames: blocks of orders 0 to 9: " : " ",
                 atomic_load(&order_count[i]), i + 1 == ORDERS ? "\n" : "");
}

const char *selftest_frames(void)
{
    static const struct stress_job job = {
        .work = work,
        .make = take_small,
        .take_apart = take_apart,
        .is_enough = are_drains_enough,
        .rounds = ROUNDS_MIN,
        .cycles_max = CYCLES_MAX,
        .inside_min = INSIDE_MIN,
        .cross_min = CROSS_MIN,
        .slots = BOX_SLOTS,
        .text_start = kernel_frame_text_start,
        .text_end = kernel_frame_text_end,
    };
    (void)loam_zero_drain(&memory.zeroed); /* or the first request that fails does so */
    const uint64_t free_before = free_frames(), digest = loam_frame_digest(frames);
    start();
    stress_run(&job);
    report();
    const bool was_enough = stress_is_enough();
    stress_free_the_rest();
    const bool all_in_reach = one_gets_all();
    take_it_back();
    if (atomic_load(&stress_counts.wrong) != 0)
        return "a frame changed, or was not what was asked for";
    if (atomic_load(&stress_counts.made) != atomic_load(&stress_counts.freed))
        return "not everything came back";
    if (!all_in_reach)
        return "free frames that one CPU alone did not get";
    if (free_frames() != free_before || loam_frame_digest(frames) != digest)
        return "other frames are free than before";
    if (!was_enough)
        return "too few interrupts inside the allocator, frees across CPUs, or drains";
    return memory_audit();
}
