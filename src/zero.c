/*
 * zero.c - see zero.h.
 *
 * A slot's bit in full is set by who has filled the slot, and says: there is a frame,
 * for whoever clears the bit. Between the two nobody touches the slot, so what is read
 * after clearing is what was put there, and a slot that is used again meanwhile (ABA)
 * only means another frame.
 *
 * shown has a bit per group; set after the first of a group's bits was set, cleared
 * after the last one was cleared and, if the group has got a frame since, set again.
 * So a group with frames is shown but while somebody is between two of these steps;
 * what must find every frame looks at all groups.
 */
#include <loam/zero.h>

#include <stdatomic.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/inject.h"
#include "internal/zero_page.h"

#define ZERO_SLOTS    64u /* of a group, at most */
#define ZERO_EMPTY    UINT64_C(0)
#define ZERO_FRAME    UINT64_C(1) /* a slot with a frame: its address, and this */
#define ZERO_RESERVED UINT64_C(2) /* somebody is about to fill the slot */
#define ZERO_LOOKS    ZERO_SLOTS  /* at frames that are in a higher zone */

struct loam_zero_group {
    _Atomic uint64_t full; /* slots with a frame that nobody has taken */
    _Atomic uint64_t added, drained, missed;
    uint64_t all; /* slots that exist */
    uint64_t unused[3];
    _Atomic uint64_t slot[];
} __attribute__((aligned(64)));

LOAM_STATIC_ASSERT(sizeof(struct loam_zero_group) == 64, "slots begin at a cache line");
LOAM_STATIC_ASSERT(LOAM_CPUS_MAX <= LOAM_ZERO_CAPACITY_MAX / ZERO_SLOTS,
                   "each CPU begins at a group");
LOAM_STATIC_ASSERT(sizeof(((struct loam_zero_pool *)0)->shown) * 8 * ZERO_SLOTS ==
                       LOAM_ZERO_CAPACITY_MAX,
                   "a bit per group");

/* Frames of a zone and those below it begin below this. */
static const uint64_t zero_zone_end[LOAM_ZONES] = {
    [LOAM_ZONE_ANY] = UINT64_MAX,
    [LOAM_ZONE_4G] = LOAM_ZONE_4G_END,
    [LOAM_ZONE_16M] = LOAM_ZONE_16M_END,
};

/* ---- groups -------------------------------------------------------------- */

static struct loam_zero_group *zero_group(const struct loam_zero_pool *pool, unsigned index)
{
    return (struct loam_zero_group *)(void *)(pool->groups + index * pool->group_bytes);
}

/* Where the running CPU begins. */
static unsigned zero_home(const struct loam_zero_pool *pool)
{
    const unsigned cpu = loam_port_cpu();

    return cpu < pool->cpu_count ? cpu * pool->cpu_groups : 0;
}

static unsigned zero_after(const struct loam_zero_pool *pool, unsigned index)
{
    return index + 1 < pool->group_count ? index + 1 : 0;
}

static void zero_show(struct loam_zero_pool *pool, unsigned index)
{
    atomic_fetch_or(&pool->shown[index / 64], UINT64_C(1) << index % 64);
}

/* A group has become empty. */
static void zero_hide(struct loam_zero_pool *pool, unsigned index)
{
    atomic_fetch_and(&pool->shown[index / 64], ~(UINT64_C(1) << index % 64));
    if (atomic_load(&zero_group(pool, index)->full) != 0)
        zero_show(pool, index);
}

/* A slot has a frame for whoever wants it. */
static void zero_set(struct loam_zero_pool *pool, unsigned index, uint64_t bit)
{
    if (atomic_fetch_or(&zero_group(pool, index)->full, bit) == 0)
        zero_show(pool, index);
}

/* First group from one on that is shown; group_count: there is none. */
static unsigned zero_next_shown(const struct loam_zero_pool *pool, unsigned index)
{
    while (index < pool->group_count) {
        const uint64_t shown = atomic_load(&pool->shown[index / 64]) >> index % 64;
        if (shown != 0)
            return index + (unsigned)__builtin_ctzll(shown);
        index = (index / 64 + 1) * 64;
    }
    return pool->group_count;
}

static uint64_t zero_bit_count(uint64_t bits)
{
    uint64_t count = 0;

    for (; bits != 0; bits &= bits - 1) /* at most 64 */
        count++;
    return count;
}

/* ---- frames come out ----------------------------------------------------- */

/* What is to be taken out. */
struct zero_search {
    uint64_t end;   /* below this address */
    unsigned looks; /* at frames that are not */
};

/* Take a frame out of a group. @return its slot's value; ZERO_EMPTY: none that suits */
static uint64_t zero_claim(struct loam_zero_pool *pool, unsigned index, struct zero_search *search)
{
    struct loam_zero_group *const group = zero_group(pool, index);
    uint64_t left = atomic_load(&group->full);

    while (left != 0 && search->looks != 0) { /* each turn clears a bit of left */
        const unsigned at = (unsigned)__builtin_ctzll(left);
        const uint64_t bit = UINT64_C(1) << at;
        left &= ~bit;
        /* A guess: the frame may be another one by the time the bit is cleared. */
        if (atomic_load(&group->slot[at]) >= search->end) {
            search->looks--;
            continue;
        }
        const uint64_t before = atomic_fetch_and(&group->full, ~bit);
        if ((before & bit) == 0)
            continue;
        const uint64_t value = atomic_load(&group->slot[at]);
        LOAM_ASSERT((value & ZERO_FRAME) != 0);
        if (value >= search->end) {
            zero_set(pool, index, bit);
            continue;
        }
        /* Nothing is handed over with an empty slot. */
        atomic_store_explicit(&group->slot[at], ZERO_EMPTY, memory_order_relaxed);
        if (before == bit)
            zero_hide(pool, index);
        return value;
    }
    return ZERO_EMPTY;
}

/* Take a frame out of the pool, soon. @return as zero_claim() */
static uint64_t zero_find(struct loam_zero_pool *pool, uint64_t end)
{
    struct zero_search search = { end, ZERO_LOOKS };

    if (LOAM_INJECT("zero.take"))
        return ZERO_EMPTY;
    const unsigned home = zero_home(pool);
    uint64_t found = zero_claim(pool, home, &search);
    if (__builtin_expect(found != ZERO_EMPTY, 1))
        return found;
    for (unsigned i = zero_next_shown(pool, home + 1); i < pool->group_count && found == ZERO_EMPTY;
         i = zero_next_shown(pool, i + 1))
        found = zero_claim(pool, i, &search);
    for (unsigned i = zero_next_shown(pool, 0); i < home && found == ZERO_EMPTY;
         i = zero_next_shown(pool, i + 1))
        found = zero_claim(pool, i, &search);
    return found;
}

/* The same, whatever it takes. */
static uint64_t zero_find_anywhere(struct loam_zero_pool *pool, uint64_t end)
{
    struct zero_search search = { end, UINT32_MAX };
    uint64_t found = ZERO_EMPTY;

    for (unsigned i = 0; i < pool->group_count && found == ZERO_EMPTY; i++)
        found = zero_claim(pool, i, &search);
    return found;
}

/* ---- frames come in ------------------------------------------------------ */

/* A slot for a frame, and where to look for the next one. */
struct zero_place {
    unsigned index, left; /* group; groups not looked at yet, this one included */
    unsigned slot;
};

static bool zero_reserve_in(struct loam_zero_group *group, unsigned *slot)
{
    uint64_t left = group->all & ~atomic_load(&group->full);

    for (; left != 0; left &= left - 1) {
        const unsigned at = (unsigned)__builtin_ctzll(left);
        uint64_t empty = ZERO_EMPTY;
        if (atomic_compare_exchange_strong(&group->slot[at], &empty, ZERO_RESERVED)) {
            *slot = at;
            return true;
        }
    }
    return false;
}

/* @return false: the pool is full */
static bool zero_reserve(struct loam_zero_pool *pool, struct zero_place *place)
{
    for (; place->left != 0; place->left--) {
        if (zero_reserve_in(zero_group(pool, place->index), &place->slot))
            return true;
        place->index = zero_after(pool, place->index);
    }
    return false;
}

static void zero_cancel(struct loam_zero_pool *pool, const struct zero_place *place)
{
    atomic_store(&zero_group(pool, place->index)->slot[place->slot], ZERO_EMPTY);
}

static void zero_add(struct loam_zero_pool *pool, const struct zero_place *place, loam_phys frame)
{
    struct loam_zero_group *const group = zero_group(pool, place->index);

    atomic_store(&group->slot[place->slot], frame.addr | ZERO_FRAME);
    atomic_fetch_add(&group->added, 1);
    zero_set(pool, place->index, UINT64_C(1) << place->slot);
}

/* ---- setup --------------------------------------------------------------- */

/* Of what size the groups are, from capacity and CPUs. @return bytes of all; 0: invalid */
static size_t zero_shape(struct loam_zero_pool *pool, const struct loam_zero_setup *setup)
{
    if (setup->cpu_count == 0 || setup->cpu_count > LOAM_CPUS_MAX || setup->capacity == 0 ||
        setup->capacity > LOAM_ZERO_CAPACITY_MAX)
        return 0;
    pool->cpu_count = setup->cpu_count;
    pool->capacity = setup->capacity;
    pool->group_count = (unsigned)((setup->capacity + ZERO_SLOTS - 1) / ZERO_SLOTS);
    if (pool->group_count < setup->cpu_count)
        pool->group_count = setup->cpu_count;
    pool->cpu_groups = pool->group_count / setup->cpu_count;
    const size_t slots = (size_t)((setup->capacity + pool->group_count - 1) / pool->group_count);
    pool->group_bytes = sizeof(struct loam_zero_group) + (slots * sizeof(uint64_t) + 63) / 64 * 64;
    return pool->group_count * pool->group_bytes;
}

size_t loam_zero_bytes_needed(const struct loam_zero_setup *setup)
{
    struct loam_zero_pool shape;

    return zero_shape(&shape, setup);
}

enum loam_status loam_zero_init(struct loam_zero_pool *pool, const struct loam_zero_setup *setup)
{
    const size_t needed = loam_zero_bytes_needed(setup);

    LOAM_REQUIRE(loam_hhdm_is_genuine(setup->hhdm), "zero: direct map not from a boot adapter",
                 setup->hhdm.offset, setup->hhdm.seal);
    if (needed == 0 || setup->frame == NULL || setup->memory == NULL ||
        (uintptr_t)setup->memory % 64 != 0)
        return LOAM_INVALID;
    if (setup->memory_bytes < needed)
        return LOAM_NO_SPACE;
    __builtin_memset(pool, 0, sizeof(*pool));
    (void)zero_shape(pool, setup);
    pool->frame = setup->frame;
    pool->hhdm = setup->hhdm;
    pool->reserve_count = setup->reserve_count;
    pool->groups = setup->memory;
    __builtin_memset(pool->groups, 0, needed);
    for (unsigned i = 0; i < pool->group_count; i++) {
        const uint64_t slots =
            pool->capacity / pool->group_count + (i < pool->capacity % pool->group_count);
        zero_group(pool, i)->all = slots == 64 ? UINT64_MAX : (UINT64_C(1) << slots) - 1;
    }
    return LOAM_OK;
}

/* ---- taking -------------------------------------------------------------- */

static zero_word *zero_page(const struct loam_zero_pool *pool, loam_phys frame)
{
    return loam_hhdm_pointer(pool->hhdm, frame);
}

static bool zero_is_zero(const struct loam_zero_pool *pool, loam_phys frame)
{
    return zero_first_other(zero_page(pool, frame)) == LOAM_PAGE_SIZE;
}

/* A frame that was claimed. */
static loam_phys zero_hand_out(const struct loam_zero_pool *pool, uint64_t value)
{
    const loam_phys frame = loam_phys_at(value - ZERO_FRAME);

    LOAM_CHECK_IF(LOAM_CHECK >= 2, zero_is_zero(pool, frame),
                  "zero: frame was written to in the pool", frame.addr,
                  zero_first_other(zero_page(pool, frame)));
    return frame;
}

/* A frame when the pool has none, or none that suits soon. */
__attribute__((noinline)) static loam_phys zero_take_else(struct loam_zero_pool *pool,
                                                          enum loam_zone zone)
{
    loam_phys frame = loam_frame_alloc(pool->frame, 0, zone);

    if (loam_phys_is_none(frame)) {
        const uint64_t found = zero_find_anywhere(pool, zero_zone_end[zone]);
        if (found != ZERO_EMPTY)
            return zero_hand_out(pool, found);
        frame = loam_frame_alloc(pool->frame, 0, zone); /* drained since */
    }
    atomic_fetch_add(&zero_group(pool, zero_home(pool))->missed, 1);
    if (!loam_phys_is_none(frame))
        zero_fill(zero_page(pool, frame), LOAM_PAGE_SIZE);
    return frame;
}

loam_phys loam_zero_take(struct loam_zero_pool *pool, enum loam_zone zone)
{
    if ((unsigned)zone >= LOAM_ZONES)
        return loam_phys_none();
    const uint64_t found = zero_find(pool, zero_zone_end[zone]);
    return found != ZERO_EMPTY ? zero_hand_out(pool, found) : zero_take_else(pool, zone);
}

loam_phys loam_zero_alloc(struct loam_zero_pool *pool, unsigned order, enum loam_zone zone)
{
    if (order == 0)
        return loam_zero_take(pool, zone);
    if (order > LOAM_ORDER_MAX || (unsigned)zone >= LOAM_ZONES)
        return loam_phys_none();
    loam_phys block = loam_frame_alloc(pool->frame, order, zone);
    if (loam_phys_is_none(block) && loam_zero_drain(pool) != 0)
        block = loam_frame_alloc(pool->frame, order, zone);
    if (!loam_phys_is_none(block))
        zero_fill(zero_page(pool, block), loam_order_bytes(order));
    return block;
}

/* ---- filling and emptying ------------------------------------------------ */

/* May a frame be taken from the allocator? By a count of free memory that is as old as
 * a 1024th of memory: counting then costs some words for each frame. */
static bool zero_is_allowed(struct loam_zero_pool *pool)
{
    uint64_t left = atomic_load(&pool->allowance);
    uint64_t free_count = 0;
    uint64_t frame_count = 0;

    while (left != 0) /* ends: each turn that fails means that another CPU went on */
        if (atomic_compare_exchange_strong(&pool->allowance, &left, left - 1))
            return true;
    if (atomic_exchange(&pool->is_counted, 1) != 0)
        return false; /* another CPU counts: what it finds is for this one too, next time */
    for (unsigned zone = 0; zone < LOAM_ZONES; zone++) {
        struct loam_frame_stats stats;
        loam_frame_measure(pool->frame, (enum loam_zone)zone, &stats);
        free_count += stats.free_count;
        frame_count += stats.frame_count;
    }
    const bool is_enough = free_count > pool->reserve_count;
    left = is_enough ? free_count - pool->reserve_count - 1 : 0;
    atomic_store(&pool->allowance, left < frame_count / 1024 ? left : frame_count / 1024);
    atomic_store(&pool->is_counted, 0);
    return is_enough;
}

size_t loam_zero_refill(struct loam_zero_pool *pool, size_t most)
{
    struct zero_place place = { zero_home(pool), pool->group_count, 0 };
    size_t done = 0;

    while (done < most && zero_reserve(pool, &place)) {
        const bool is_allowed = !LOAM_INJECT("zero.refill") && zero_is_allowed(pool);
        const loam_phys frame =
            is_allowed ? loam_frame_alloc(pool->frame, 0, LOAM_ZONE_ANY) : loam_phys_none();
        if (loam_phys_is_none(frame)) {
            zero_cancel(pool, &place);
            break;
        }
        zero_fill(zero_page(pool, frame), LOAM_PAGE_SIZE);
        zero_add(pool, &place, frame);
        done++;
    }
    return done;
}

bool loam_zero_has(const struct loam_zero_pool *pool, loam_phys frame)
{
    for (unsigned i = 0; i < pool->group_count; i++) {
        const struct loam_zero_group *const group = zero_group(pool, i);
        for (uint64_t left = atomic_load(&group->full); left != 0; left &= left - 1)
            if (atomic_load(&group->slot[__builtin_ctzll(left)]) == (frame.addr | ZERO_FRAME))
                return true;
    }
    return false;
}

void loam_zero_put(struct loam_zero_pool *pool, loam_phys frame)
{
    struct zero_place place = { zero_home(pool), pool->group_count, 0 };

    LOAM_REQUIRE(loam_is_page_aligned(frame.addr), "zero: not a page frame", frame.addr, 0);
    LOAM_CHECK_IF(LOAM_CHECK >= 2, !loam_zero_has(pool, frame), "zero: frame put back twice",
                  frame.addr, 0);
    LOAM_CHECK_IF(LOAM_CHECK >= 2, zero_is_zero(pool, frame), "zero: frame put back is not zero",
                  frame.addr, zero_first_other(zero_page(pool, frame)));
    if (zero_reserve(pool, &place))
        zero_add(pool, &place, frame);
    else
        loam_frame_free(pool->frame, frame, 0);
}

size_t loam_zero_drain(struct loam_zero_pool *pool)
{
    struct zero_search search = { UINT64_MAX, 1 }; /* every frame suits */
    size_t done = 0;

    for (unsigned i = 0; i < pool->group_count; i++) {
        for (unsigned slot = 0; slot < ZERO_SLOTS; slot++) { /* or for ever, if refilled */
            const uint64_t found = zero_claim(pool, i, &search);
            if (found == ZERO_EMPTY)
                break;
            atomic_fetch_add(&zero_group(pool, i)->drained, 1);
            loam_frame_free(pool->frame, zero_hand_out(pool, found), 0);
            done++;
        }
    }
    atomic_store(&pool->allowance, 0); /* memory is short */
    return done;
}

/* ---- looking ------------------------------------------------------------- */

uint64_t loam_zero_level(const struct loam_zero_pool *pool)
{
    uint64_t level = 0;

    for (unsigned i = 0; i < pool->group_count; i++)
        level += zero_bit_count(atomic_load(&zero_group(pool, i)->full));
    return level;
}

/* No hit is counted: a hit is what was added and is neither there nor drained. */
void loam_zero_measure(const struct loam_zero_pool *pool, struct loam_zero_stats *out)
{
    __builtin_memset(out, 0, sizeof(*out));
    for (unsigned i = 0; i < pool->group_count; i++) {
        const struct loam_zero_group *const group = zero_group(pool, i);
        out->added_count += atomic_load(&group->added);
        out->drained_count += atomic_load(&group->drained);
        out->miss_count += atomic_load(&group->missed);
    }
    out->level = loam_zero_level(pool);
    const uint64_t gone = out->drained_count + out->level;
    out->hit_count = out->added_count > gone ? out->added_count - gone : 0;
}

/* How often a frame is in the pool. */
static unsigned zero_times(const struct loam_zero_pool *pool, uint64_t value)
{
    unsigned times = 0;

    for (unsigned i = 0; i < pool->group_count; i++) {
        const struct loam_zero_group *const group = zero_group(pool, i);
        for (uint64_t left = atomic_load(&group->full); left != 0; left &= left - 1)
            times += atomic_load(&group->slot[__builtin_ctzll(left)]) == value;
    }
    return times;
}

/* @return NULL, or what is wrong with a slot whose bit is set */
static const char *zero_audit_frame(const struct loam_zero_pool *pool, uint64_t value)
{
    const loam_phys frame = loam_phys_at(value - ZERO_FRAME);

    if (value % LOAM_PAGE_SIZE != ZERO_FRAME)
        return "zero: slot has no frame";
    if (loam_frame_free_in(pool->frame, loam_phys_range_of(frame, LOAM_PAGE_SIZE)) != 0)
        return "zero: frame is free";
    if (zero_times(pool, value) != 1)
        return "zero: frame is twice in the pool";
    return LOAM_CHECK < 2 || zero_is_zero(pool, frame) ? NULL
                                                       : "zero: frame was written to in the pool";
}

static const char *zero_audit_group(const struct loam_zero_pool *pool, unsigned index)
{
    const struct loam_zero_group *const group = zero_group(pool, index);
    const uint64_t full = atomic_load(&group->full);

    if ((full & ~group->all) != 0)
        return "zero: frame where there is no slot";
    if (full != 0 && (atomic_load(&pool->shown[index / 64]) >> index % 64 & 1) == 0)
        return "zero: group with frames is not shown";
    for (uint64_t left = group->all; left != 0; left &= left - 1) {
        const unsigned at = (unsigned)__builtin_ctzll(left);
        const uint64_t value = atomic_load(&group->slot[at]);
        if ((full >> at & 1) == 0 && value != ZERO_EMPTY)
            return "zero: slot is not empty";
        const char *const broken = (full >> at & 1) == 0 ? NULL : zero_audit_frame(pool, value);
        if (broken != NULL)
            return broken;
    }
    return NULL;
}

const char *loam_zero_audit(const struct loam_zero_pool *pool)
{
    struct loam_zero_stats stats;

    if (!loam_hhdm_is_genuine(pool->hhdm))
        return "zero: direct map not from a boot adapter";
    for (unsigned i = 0; i < pool->group_count; i++) {
        const char *const broken = zero_audit_group(pool, i);
        if (broken != NULL)
            return broken;
    }
    loam_zero_measure(pool, &stats);
    return stats.level + stats.drained_count <= stats.added_count
               ? NULL
               : "zero: more frames than were added";
}

uint64_t loam_zero_digest(const struct loam_zero_pool *pool)
{
    uint64_t sum = 0; /* of any order */

    for (unsigned i = 0; i < pool->group_count; i++) {
        const struct loam_zero_group *const group = zero_group(pool, i);
        for (uint64_t left = atomic_load(&group->full); left != 0; left &= left - 1)
            sum += loam_digest_add(LOAM_DIGEST_START,
                                   atomic_load(&group->slot[__builtin_ctzll(left)]));
    }
    return loam_digest_add(LOAM_DIGEST_START, sum);
}
