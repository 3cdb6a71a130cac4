/*
 * zero_misuse_test.c - what a pool refuses, with which words, and what its audit finds.
 */
#include "zero_world.h"

#include <stdatomic.h>

#define BASE    UINT64_C(8192)
#define WRITTEN "zero: frame was written to in the pool"

static void world(size_t level)
{
    ZERO_WORLD(2, 8, 0, { BASE, BASE + 64 });
    machine_set_cpu(0);
    assert_int_equal(refill(level), level);
}

/* A panic with this rule about this page. */
#define EXPECT_MISUSE(rule_, page_, detail_, statement)          \
    do {                                                         \
        const uint64_t level_ = loam_zero_level(&pool);          \
        EXPECT_PANIC(rule_, statement);                          \
        assert_int_equal(panic_trap.seen.subject, BYTES(page_)); \
        assert_int_equal(panic_trap.seen.detail, (detail_));     \
        assert_int_equal(loam_zero_level(&pool), level_);        \
    } while (0)

static void pool_wants_a_genuine_direct_map(void **state)
{
    struct loam_zero_pool other;

    (void)state;
    world(0);
    struct loam_zero_setup forged = pool_setup;
    forged.hhdm.seal++;
    EXPECT_PANIC("zero: direct map not from a boot adapter",
                 (void)!loam_zero_init(&other, &forged));
}

static void put_F12_of_no_page_panics(void **state)
{
    static const uint64_t bad[] = { 1, 8, 4095, UINT64_MAX };

    (void)state;
    world(1);
    for (size_t i = 0; i < COUNT(bad); i++) {
        const loam_phys frame_at = loam_phys_at(BYTES(BASE) + bad[i]);
        EXPECT_PANIC("zero: not a page frame", loam_zero_put(&pool, frame_at));
        assert_int_equal(panic_trap.seen.subject, frame_at.addr);
    }
    expect_pool_sound();
}

static void put_of_what_is_not_zero_panics(void **state)
{
    static const uint64_t offset[] = { 0, 1, 7, 8, 2049, 4088, 4095 };

    (void)state;
    world(0);
    for (size_t i = 0; i < COUNT(offset); i++) {
        const uint64_t page = take_zeroed(LOAM_ZONE_ANY);
        ((unsigned char *)machine_ram(BYTES(page)))[offset[i]] = 0x80;
        EXPECT_MISUSE("zero: frame put back is not zero", page, offset[i],
                      loam_zero_put(&pool, loam_phys_at(BYTES(page))));
    }
    expect_pool_sound();
}

static void put_F08_twice_panics(void **state)
{
    (void)state;
    world(3);
    const uint64_t a = take_zeroed(LOAM_ZONE_ANY);
    const uint64_t b = take_zeroed(LOAM_ZONE_ANY);
    put(a);
    machine_set_cpu(1);
    EXPECT_MISUSE("zero: frame put back twice", a, 0, put(a));
    put(b);
    EXPECT_MISUSE("zero: frame put back twice", a, 0, put(a));
    expect_pool_sound();
}

/* The only frame of the pool, written to. */
static uint64_t written_to(uint64_t offset)
{
    world(0);
    const uint64_t page = take_zeroed(LOAM_ZONE_ANY);
    put(page);
    ((unsigned char *)machine_ram(BYTES(page)))[offset] = 1;
    assert_string_equal(loam_zero_audit(&pool), WRITTEN);
    return page;
}

static void expect_seen(uint64_t offset)
{
    const uint64_t page = written_to(offset);
    EXPECT_PANIC(WRITTEN, (void)take_zeroed_any(LOAM_ZONE_ANY));
    assert_int_equal(panic_trap.seen.subject, BYTES(page));
    assert_int_equal(panic_trap.seen.detail, offset);
    const uint64_t other = written_to(offset);
    EXPECT_PANIC(WRITTEN, (void)loam_zero_drain(&pool));
    assert_int_equal(panic_trap.seen.subject, BYTES(other));
}

static void write_F22_to_a_frame_in_the_pool_is_seen(void **state)
{
    (void)state;
    expect_seen(0);
    expect_seen(1000);
    expect_seen(4095);
}

/* ---- the audit ----------------------------------------------------------- */

/* The words of a group, as zero.c lays them out. */
static _Atomic uint64_t *group_word(unsigned group, unsigned word)
{
    return (_Atomic uint64_t *)(void *)(pool.groups + group * pool.group_bytes) + word;
}

#define FULL     0u
#define ADDED    1u
#define SLOT(at) (8u + (at))

static void audit_F23_finds_each_corruption(void **state)
{
    (void)state;
    world(3); /* in the slots 0 to 2 of group 0, each of four slots */
    pool.hhdm.seal++;
    assert_string_equal(loam_zero_audit(&pool), "zero: direct map not from a boot adapter");

    world(3);
    *group_word(0, FULL) |= 16;
    assert_string_equal(loam_zero_audit(&pool), "zero: frame where there is no slot");

    world(3);
    *group_word(0, FULL) |= 8;
    assert_string_equal(loam_zero_audit(&pool), "zero: slot has no frame");

    world(3);
    *group_word(0, FULL) &= ~UINT64_C(2);
    assert_string_equal(loam_zero_audit(&pool), "zero: slot is not empty");

    world(3);
    *group_word(1, SLOT(3)) = 2;
    assert_string_equal(loam_zero_audit(&pool), "zero: slot is not empty");

    world(3);
    *group_word(0, SLOT(1)) |= 8;
    assert_string_equal(loam_zero_audit(&pool), "zero: slot has no frame");

    world(3);
    *group_word(0, SLOT(2)) = *group_word(0, SLOT(0));
    assert_string_equal(loam_zero_audit(&pool), "zero: frame is twice in the pool");

    world(3);
    give_any((*group_word(0, SLOT(2)) - 1) / BYTES(1), 0);
    assert_string_equal(loam_zero_audit(&pool), "zero: frame is free");

    world(3);
    pool.shown[0] = 0;
    assert_string_equal(loam_zero_audit(&pool), "zero: group with frames is not shown");

    world(3);
    *group_word(0, ADDED) -= 1;
    assert_string_equal(loam_zero_audit(&pool), "zero: more frames than were added");
}

static void digest_is_of_the_frames_in_the_pool(void **state)
{
    (void)state;
    world(3);
    const uint64_t digest = loam_zero_digest(&pool);
    const uint64_t a = take_zeroed(LOAM_ZONE_ANY);
    const uint64_t without_a = loam_zero_digest(&pool);
    const uint64_t b = take_zeroed(LOAM_ZONE_ANY);
    put(a);
    assert_true(loam_zero_digest(&pool) != digest && loam_zero_digest(&pool) != without_a);
    machine_set_cpu(1); /* into another group */
    put(b);
    assert_int_equal(loam_zero_digest(&pool), digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_wants_a_genuine_direct_map),
        cmocka_unit_test(put_F12_of_no_page_panics),
        cmocka_unit_test(put_of_what_is_not_zero_panics),
        cmocka_unit_test(put_F08_twice_panics),
        cmocka_unit_test(write_F22_to_a_frame_in_the_pool_is_seen),
        cmocka_unit_test(audit_F23_finds_each_corruption),
        cmocka_unit_test(digest_is_of_the_frames_in_the_pool),
    };
    return RUN_TESTS(tests);
}
