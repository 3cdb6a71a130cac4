/*
 * loam_refusal_test.c - what loam_init() refuses, with which words and numbers, and
 * that nothing has changed then. Rows M01-M04, M17, M18, M24-M26, M34, D04 and
 * D08-D10 of the bad-input list.
 */
#include "loam_world.h"

#include <pthread.h>
#include <stdatomic.h>

/* Refused, with these words; storage may differ, mm is as before. */
static void expect_refusal(enum loam_status status, const char *rule)
{
    const uint64_t before = loam_digest(&mm);
    assert_int_equal(loam_init(&mm, &boot, &refusal), status);
    assert_string_equal(refusal.rule, rule);
    assert_int_equal(loam_digest(&mm), before);
    assert_string_equal(loam_audit(&mm), "loam: not initialised");
}

static void loam_M01_no_map_is_refused(void **state)
{
    (void)state;
    power_on(1);
    expect_refusal(LOAM_INVALID, "loam: no memory map");
    boot.raw_count = 3;
    boot.storage.raw = NULL;
    expect_refusal(LOAM_INVALID, "loam: no memory map");
}

static void loam_M02_no_usable_memory_is_refused(void **state)
{
    (void)state;
    power_on(1);
    add(MIB(1), MIB(64), LOAM_MEM_RESERVED);
    add(MIB(128), MIB(64), LOAM_MEM_BOOT_RECLAIMABLE);
    expect_refusal(LOAM_NO_MEMORY, "loam: no usable memory");
}

static void loam_M03_too_little_memory_is_refused_with_both_numbers(void **state)
{
    static const uint64_t sizes[] = { KIB(12), KIB(64), KIB(120) };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        power_on(1);
        add(MIB(1), sizes[i], LOAM_MEM_USABLE);
        boot.heap_kind = LOAM_ALLOCATOR_ARENA;
        expect_refusal(LOAM_NO_MEMORY, "loam: too little contiguous memory for a heap (bytes)");
        /* half of what ledger, frame allocator and zeroed frames left */
        assert_int_equal(refusal.have, (sizes[i] - KIB(12)) / 2 & ~UINT64_C(0xfff));
        assert_int_equal(refusal.need, KIB(64));
    }
}

static void loam_M03_one_page_is_too_little_for_the_frame_metadata(void **state)
{
    (void)state;
    power_on(1);
    add(MIB(1), KIB(4), LOAM_MEM_USABLE);
    expect_refusal(LOAM_NO_MEMORY,
                   "loam: too little contiguous memory for the frame metadata (bytes)");
    assert_int_equal(refusal.have, 0);
    assert_int_equal(refusal.need, KIB(4));
}

/* Usable memory in pieces, as many as you like: nothing contiguous. */
static void loam_M04_no_gap_for_the_heap_names_the_largest(void **state)
{
    (void)state;
    power_on(1);
    for (unsigned i = 0; i < 20; i++)
        add(MIB(1) + i * KIB(64), KIB(60), LOAM_MEM_USABLE);
    boot.heap_kind = LOAM_ALLOCATOR_ARENA;
    expect_refusal(LOAM_NO_MEMORY, "loam: too little contiguous memory for a heap (bytes)");
    assert_int_equal(refusal.have, KIB(60));
    boot.heap_kind = LOAM_ALLOCATOR_HEAP; /* which needs no large piece */
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
}

static void loam_M04_no_gap_for_the_frame_metadata_names_the_largest(void **state)
{
    (void)state;
    power_on(1);
    for (unsigned i = 0; i < 200; i++)
        add(MIB(1) + i * KIB(16), KIB(12), LOAM_MEM_USABLE);
    expect_refusal(LOAM_NO_MEMORY,
                   "loam: too little contiguous memory for the frame metadata (bytes)");
    assert_int_equal(refusal.have, KIB(12));
    assert_in_range(refusal.need, KIB(16), KIB(512));
}

/* The heap takes the largest block where 4 MiB in one piece are not to be had. */
static void heap_is_smaller_where_memory_is_short(void **state)
{
    (void)state;
    power_on(1);
    for (unsigned i = 0; i < 32; i++)
        add(MIB(2) + i * MIB(2), i == 7 ? KIB(1500) : MIB(1), LOAM_MEM_USABLE);
    boot.heap_kind = LOAM_ALLOCATOR_ARENA;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(mm.heap_range.size, KIB(1500));
    assert_int_equal(mm.heap_range.start.addr, MIB(16));

    power_on(1);
    add(MIB(1), MIB(2), LOAM_MEM_USABLE);
    boot.heap_kind = LOAM_ALLOCATOR_ARENA;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(mm.heap_range.size, MIB(1) - KIB(8)); /* half of what the books left */
}

static void heap_size_can_be_chosen(void **state)
{
    (void)state;
    small_machine(1);
    boot.heap_bytes = MIB(16) + 1;
    boot.heap_kind = LOAM_ALLOCATOR_ARENA;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(mm.heap_range.size, MIB(16) + KIB(4));
    small_machine(1);
    boot.heap_bytes = UINT64_MAX;
    boot.heap_kind = LOAM_ALLOCATOR_ARENA;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_in_range(mm.heap_range.size, MIB(31), MIB(32));
}

static void heap_that_cannot_serve_malloc_is_refused(void **state)
{
    (void)state;
    small_machine(1);
    boot.heap_kind = LOAM_ALLOCATOR_FREELIST_SIZED;
    expect_refusal(LOAM_INVALID, "loam: a heap that must be told sizes cannot serve loam_free()");
    assert_int_equal(refusal.have, LOAM_ALLOCATOR_FREELIST_SIZED);
    assert_int_equal(refusal.need, LOAM_ALLOCATOR_FREELIST);
    boot.heap_kind = (enum loam_allocator_kind)7;
    expect_refusal(LOAM_INVALID, "loam: heap_kind is no kind of heap");
    assert_int_equal(refusal.have, 7);
    boot.heap_kind = LOAM_ALLOCATOR_BUMP;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
}

static loam_irq_state count_acquire(struct loam_caller_lock *self)
{
    (void)self;
    return 7;
}

static void count_release(struct loam_caller_lock *self, loam_irq_state state)
{
    (void)self;
    assert_int_equal(state, 7);
}

static void heap_lock_that_does_not_exist_is_refused(void **state)
{
    static const char rule[] =
        "loam: heap_lock is no kind of lock, or does not fit heap_caller_lock";
    struct loam_caller_lock lock = { count_acquire, NULL };
    (void)state;
    small_machine(1);
    boot.heap_lock = (enum loam_locked_kind)4;
    expect_refusal(LOAM_INVALID, rule);
    assert_int_equal(refusal.have, 4);
    boot.heap_lock = LOAM_LOCKED_BY_CALLER;
    expect_refusal(LOAM_INVALID, rule);
    boot.heap_caller_lock = &lock;
    expect_refusal(LOAM_INVALID, rule);
    lock.release = count_release;
    boot.heap_lock = LOAM_LOCKED_SPIN;
    expect_refusal(LOAM_INVALID, rule);
    boot.heap_lock = LOAM_LOCKED_BY_CALLER;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    void *block = loam_malloc(&mm, 10);
    assert_non_null(block);
    loam_free(&mm, block);
}

static void loam_M18_memory_above_4_gib_only(void **state)
{
    struct loam_phys_range range;
    (void)state;
    power_on(1);
    add(GIB(8), MIB(64), LOAM_MEM_USABLE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const struct loam_frame_request dma = { .page_count = 1, .limit = GIB(4) };
    assert_int_equal(loam_take(&mm, &dma, LOAM_OWNER_KERNEL, &range), LOAM_NO_MEMORY);
    const struct loam_frame_request any = { .page_count = 1 };
    assert_int_equal(loam_take(&mm, &any, LOAM_OWNER_KERNEL, &range), LOAM_OK);
    assert_true(range.start.addr >= GIB(8));
}

static void loam_M24_image_inside_usable_memory_is_subtracted(void **state)
{
    (void)state;
    power_on(1);
    add(MIB(1), MIB(63), LOAM_MEM_USABLE);
    add_image(MIB(10));
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(total(LOAM_OWNER_EXECUTABLE), KIB(256));
    struct loam_interval interval;
    assert_true(loam_usage_lookup(&mm.usage, loam_phys_at(MIB(10)), &interval));
    assert_int_equal(interval.owner, LOAM_OWNER_EXECUTABLE);
    assert_int_equal(interval.range.start.addr, MIB(10));
    assert_int_equal(interval.range.size, KIB(256));
}

static void loam_M24_stack_in_usable_memory_is_refused(void **state)
{
    (void)state;
    small_machine(1);
    boot.stack = loam_hhdm_virt(boot.hhdm, loam_phys_at(MIB(3)));
    expect_refusal(LOAM_INVALID,
                   "loam: the running stack lies in usable memory (physical address)");
    assert_int_equal(refusal.have, MIB(3));
}

static void code_outside_the_image_is_refused(void **state)
{
    (void)state;
    small_machine(1);
    boot.code = loam_virt_at(IMAGE_VIRT + MIB(1)); /* not mapped */
    expect_refusal(LOAM_INVALID,
                   "loam: the running code is in no executable image section (address)");
    boot.code = loam_virt_at(IMAGE_VIRT + KIB(64)); /* mapped, read-only data */
    expect_refusal(LOAM_INVALID,
                   "loam: the running code is in no executable image section (address)");
}

static void stack_that_would_not_be_mapped_is_refused(void **state)
{
    (void)state;
    small_machine(1);
    boot.stack = loam_virt_at(IMAGE_VIRT + MIB(1));
    expect_refusal(LOAM_INVALID,
                   "loam: the running stack is neither in the image nor the direct map");
    boot.stack = loam_virt_at(IMAGE_VIRT); /* mapped, not writable */
    expect_refusal(LOAM_INVALID,
                   "loam: the running stack is neither in the image nor the direct map");
}

/* 1 MiB at the bottom, 64 MiB at 512 GiB: books grow with memory, not with its
 * highest address. */
/*
 *   usable  [ ok | ok | forgets | ok ... )
 *   probed  [ usable  )[ bad    )[ usable )
 */
static void loam_M25_pages_that_forget_are_bad(void **state)
{
    struct loam_interval interval;
    (void)state;
    small_machine(1);
    uint64_t *const kept = machine_ram(MIB(2));
    *kept = 0x1234567;
    boot.probe = true;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(total(LOAM_OWNER_BAD), 0);
    assert_int_equal(*kept, 0x1234567);

    small_machine(1);
    machine_break_ram(MIB(20));
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK); /* off by default */
    assert_int_equal(total(LOAM_OWNER_BAD), 0);

    small_machine(1);
    boot.probe = true;
    machine_break_ram(MIB(20));
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(total(LOAM_OWNER_BAD), KIB(4));
    assert_true(loam_usage_lookup(&mm.usage, loam_phys_at(MIB(20)), &interval));
    assert_int_equal(interval.owner, LOAM_OWNER_BAD);
    assert_int_equal(interval.range.start.addr, MIB(20));
    assert_int_equal(mm.memmap.repair_count[LOAM_REPAIR_OVERLAP], 1);
    assert_null(loam_audit(&mm));

    small_machine(1);
    boot.probe = true;
    boot.storage.raw_max = boot.raw_count + 1; /* for the image, none for the bad page */
    machine_break_ram(MIB(20));
    expect_refusal(LOAM_NO_SPACE, "boot: no room to add bad memory to the memory map (entries)");
    assert_int_equal(refusal.have, boot.raw_count + 1);
}

static void loam_M26_holes_cost_nothing(void **state)
{
    (void)state;
    power_on(1);
    add(MIB(1), MIB(1), LOAM_MEM_USABLE);
    add(GIB(512), MIB(64), LOAM_MEM_USABLE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_true(total(LOAM_OWNER_PAGE_TABLES) + total(LOAM_OWNER_METADATA) < KIB(256));
}

static void loam_D04_memory_above_the_promised_window_is_refused(void **state)
{
    (void)state;
    small_machine(1);
    boot.hhdm_bytes = GIB(3) + MIB(4);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    small_machine(1);
    boot.hhdm_bytes = GIB(3) + MIB(4) - KIB(4);
    expect_refusal(LOAM_INVALID, "hhdm: memory it should show ends above its window");
    assert_int_equal(refusal.have, GIB(3) + MIB(4));
    assert_int_equal(refusal.need, GIB(3) + MIB(4) - KIB(4));
}

static void loam_M17_usable_memory_above_the_window_is_left_alone(void **state)
{
    (void)state;
    power_on(1);
    add(MIB(1), MIB(63), LOAM_MEM_USABLE);
    add(GIB(4), MIB(64), LOAM_MEM_USABLE);
    boot.hhdm_bytes = GIB(4) + MIB(32);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(mm.memmap.total_bytes[LOAM_MEM_USABLE], MIB(63) + MIB(32));
    assert_int_equal(mm.memmap.repair_count[LOAM_REPAIR_UNREACHABLE], 1);
}

static void loam_M34_second_init_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t before = loam_digest(&mm);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_STATE);
    assert_string_equal(refusal.rule, "loam: initialised already, or by another CPU now");
    assert_int_equal(loam_digest(&mm), before);
}

static _Atomic(unsigned) ready_threads;
static _Atomic(unsigned) succeeded;
static _Atomic(unsigned) refused;

static void *init_at_once(void *unused)
{
    (void)unused;
    atomic_fetch_add(&ready_threads, 1);
    while (atomic_load(&ready_threads) < 4) {
    }
    const enum loam_status st = loam_init(&mm, &boot, NULL);
    if (st == LOAM_OK)
        atomic_fetch_add(&succeeded, 1);
    else if (st == LOAM_STATE)
        atomic_fetch_add(&refused, 1);
    return NULL;
}

static void loam_D08_one_of_many_inits_succeeds(void **state)
{
    pthread_t thread[4];
    (void)state;
    small_machine(1);
    atomic_store(&ready_threads, 0);
    atomic_store(&succeeded, 0);
    atomic_store(&refused, 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, init_at_once, NULL), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(atomic_load(&succeeded), 1);
    assert_int_equal(atomic_load(&refused), 3);
    assert_null(loam_audit(&mm));
}

static void loam_D09_calls_before_init_are_refused(void **state)
{
    const struct loam_frame_request page = { .page_count = 1 };
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    const struct loam_virt_range virt = { { 0x1000 }, 0x1000 };
    struct loam_phys_range range = { { 1 }, 2 };
    uint64_t bytes = 3;
    (void)state;
    power_on(1);
    assert_int_equal(loam_take(&mm, &page, LOAM_OWNER_KERNEL, &range), LOAM_STATE);
    assert_int_equal(range.start.addr, 1);
    assert_int_equal(loam_give(&mm, range, LOAM_OWNER_KERNEL), LOAM_STATE);
    assert_int_equal(loam_map(&mm, virt, loam_phys_at(0x1000), attr), LOAM_STATE);
    assert_int_equal(loam_unmap(&mm, virt), LOAM_STATE);
    assert_int_equal(loam_protect(&mm, virt, attr), LOAM_STATE);
    assert_int_equal(loam_reclaim(&mm, &bytes), LOAM_STATE);
    assert_int_equal(bytes, 3);
    loam_phys frame = loam_phys_at(7);
    assert_true(loam_phys_is_none(loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL)));
    assert_int_equal(loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, &frame, 1), 0);
    assert_int_equal(frame.addr, 7);
    assert_int_equal(loam_owner_bytes(&mm, LOAM_OWNER_USABLE), 0);
    loam_give_bulk(&mm, LOAM_OWNER_KERNEL, &frame, 0);
    EXPECT_PANIC("loam: frames given back before loam_init()",
                 loam_give_frames(&mm, loam_phys_at(KIB(4)), 0, LOAM_OWNER_KERNEL));
    assert_int_equal(loam_enter(&mm), LOAM_STATE);
    assert_null(loam_malloc(&mm, 1));
    assert_null(loam_calloc(&mm, 1, 1));
    assert_null(loam_realloc(&mm, NULL, 1));
    assert_null(loam_aligned_alloc(&mm, 16, 1));
    assert_int_equal(loam_malloc_usable(&mm, NULL), 0);
    loam_free(&mm, NULL);
    loam_free_sized(&mm, NULL, 7);
}

/* Whichever step fails, nothing is half initialised and a second try works. */
static void loam_D10_init_survives_every_failure(void **state)
{
    (void)state;
    EACH_HEAP
    {
        unsigned failures = 0;
        INJECT_EACH_POINT
        {
            memset(&mm, 0, sizeof mm);
            INJECT_ARM();
            const enum loam_status st = loam_init(&mm, &boot, &refusal);
            INJECT_DISARM();
            if (!inject_fired()) {
                assert_int_equal(st, LOAM_OK);
                continue;
            }
            failures++;
            assert_int_not_equal(st, LOAM_OK);
            assert_non_null(refusal.rule);
            assert_string_equal(loam_audit(&mm), "loam: not initialised");
            assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
            assert_null(loam_audit(&mm));
        }
        assert_true(failures > 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loam_M01_no_map_is_refused),
        cmocka_unit_test(loam_M02_no_usable_memory_is_refused),
        cmocka_unit_test(loam_M03_too_little_memory_is_refused_with_both_numbers),
        cmocka_unit_test(loam_M03_one_page_is_too_little_for_the_frame_metadata),
        cmocka_unit_test(loam_M04_no_gap_for_the_heap_names_the_largest),
        cmocka_unit_test(loam_M04_no_gap_for_the_frame_metadata_names_the_largest),
        cmocka_unit_test(heap_is_smaller_where_memory_is_short),
        cmocka_unit_test(heap_size_can_be_chosen),
        cmocka_unit_test(heap_that_cannot_serve_malloc_is_refused),
        cmocka_unit_test(heap_lock_that_does_not_exist_is_refused),
        cmocka_unit_test(loam_M18_memory_above_4_gib_only),
        cmocka_unit_test(loam_M24_image_inside_usable_memory_is_subtracted),
        cmocka_unit_test(loam_M24_stack_in_usable_memory_is_refused),
        cmocka_unit_test(code_outside_the_image_is_refused),
        cmocka_unit_test(stack_that_would_not_be_mapped_is_refused),
        cmocka_unit_test(loam_M25_pages_that_forget_are_bad),
        cmocka_unit_test(loam_M26_holes_cost_nothing),
        cmocka_unit_test(loam_D04_memory_above_the_promised_window_is_refused),
        cmocka_unit_test(loam_M17_usable_memory_above_the_window_is_left_alone),
        cmocka_unit_test(loam_M34_second_init_is_refused_and_changes_nothing),
        cmocka_unit_test(loam_D08_one_of_many_inits_succeeds),
        cmocka_unit_test(loam_D09_calls_before_init_are_refused),
        cmocka_unit_test(loam_D10_init_survives_every_failure),
    };
    return RUN_TESTS(tests);
}
