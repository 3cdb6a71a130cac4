/*
 * loam_test.c - the layers together: bring-up, malloc family, audit. What is refused
 * is in loam_refusal_test.c.
 */
#include "loam_world.h"

#include <loam/x86.h>

static void init_charges_every_byte_to_one_owner(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_null(loam_audit(&mm));
    assert_int_equal(mm.heap_range.size, KIB(4)); /* all that a heap needs that grows */
    assert_int_equal(total(LOAM_OWNER_HEAP), KIB(4));
    assert_int_equal(total(LOAM_OWNER_EXECUTABLE), KIB(256));
    assert_int_equal(total(LOAM_OWNER_BOOTLOADER), KIB(768));
    assert_int_equal(total(LOAM_OWNER_FRAMEBUFFER), MIB(4));
    assert_int_equal(total(LOAM_OWNER_RESERVED), KIB(388) + GIB(12) + KIB(4)); /* frame 0 too */
    assert_int_equal(total(LOAM_OWNER_USABLE) + total(LOAM_OWNER_HEAP) +
                         total(LOAM_OWNER_PAGE_TABLES) + total(LOAM_OWNER_METADATA),
                     KIB(632) + MIB(62));
    assert_int_equal(total(LOAM_OWNER_PAGE_TABLES),
                     (mm.space.table_count + mm.tables.frame_count) * LOAM_PAGE_SIZE);
}

/* 16 MiB, of which the heap has 1: all else but some dozen pages can be had. */
static void init_leaves_most_of_a_small_machine(void **state)
{
    (void)state;
    power_on(4);
    add(0, KIB(636), LOAM_MEM_USABLE);
    add(MIB(1), KIB(256), LOAM_MEM_EXECUTABLE);
    add(MIB(1) + KIB(256), KIB(768), LOAM_MEM_BOOT_RECLAIMABLE);
    add(MIB(2), MIB(14), LOAM_MEM_USABLE);
    add_image(MIB(1));
    boot.heap_bytes = MIB(1);
    boot.heap_kind = LOAM_ALLOCATOR_ARENA;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(total(LOAM_OWNER_HEAP), MIB(1));
    assert_in_range(total(LOAM_OWNER_METADATA), KIB(40), KIB(44)); /* of which 32 for nodes */
    assert_true(total(LOAM_OWNER_USABLE) >= MIB(13) + KIB(400));
    assert_false(
        loam_phys_is_none(loam_take_frames(&mm, LOAM_ORDER_2M, LOAM_ZONE_16M, LOAM_OWNER_KERNEL)));
    assert_null(loam_audit(&mm));
}

/* RAM as a firmware may leave it: no byte of it is zero. */
static void make_dirty(void)
{
    memset(machine_ram(MIB(2)), 0xa5, MIB(62));
}

static void init_trusts_no_ram_to_hold_zeroes_unless_told(void **state)
{
    (void)state;
    small_machine(1);
    make_dirty();
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_null(loam_audit(&mm));
    const uint64_t digest = loam_digest(&mm);

    small_machine(1);
    boot.ram_is_zeroed = true;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(loam_digest(&mm), digest);

    small_machine(1); /* who says so and is wrong: nothing was cleared */
    make_dirty();
    boot.ram_is_zeroed = true;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OVERLAP);
    assert_string_equal(refusal.rule, "loam: the frame allocator cannot start (ranges)");
}

static void init_builds_the_direct_map_and_the_image(void **state)
{
    struct loam_translation at;
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);

    assert_int_equal(loam_space_query(&mm.space, loam_virt_at(IMAGE_VIRT + 0x123), &at), LOAM_OK);
    assert_int_equal(at.phys.addr, MIB(1) + 0x123);
    assert_true((at.attr.prot & LOAM_PROT_EXEC) != 0 && (at.attr.prot & LOAM_PROT_WRITE) == 0);

    const loam_virt alias = loam_hhdm_virt(boot.hhdm, loam_phys_at(MIB(1)));
    assert_int_equal(loam_space_query(&mm.space, alias, &at), LOAM_OK);
    assert_true((at.attr.prot & (LOAM_PROT_EXEC | LOAM_PROT_WRITE)) == 0);

    const loam_virt fb = loam_hhdm_virt(boot.hhdm, loam_phys_at(GIB(3)));
    assert_int_equal(loam_space_query(&mm.space, fb, &at), LOAM_OK);
    assert_int_equal(at.attr.cache, LOAM_CACHE_WC);

    const loam_virt hole = loam_hhdm_virt(boot.hhdm, loam_phys_at(MIB(64)));
    assert_int_equal(loam_space_query(&mm.space, hole, &at), LOAM_NOT_FOUND);
    const loam_virt reserved = loam_hhdm_virt(boot.hhdm, loam_phys_at(KIB(700)));
    assert_int_equal(loam_space_query(&mm.space, reserved, &at), LOAM_NOT_FOUND);
}

static void enter_moves_each_cpu_onto_the_tables(void **state)
{
    (void)state;
    small_machine(3);
    assert_int_equal(loam_enter(&mm), LOAM_STATE);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    for (unsigned cpu = 0; cpu < 3; cpu++) {
        machine_set_cpu(cpu);
        assert_int_equal(loam_enter(&mm), LOAM_OK);
        assert_int_equal(loam_x86_read_cr3(), mm.space.root.addr);
    }
    machine_set_cpu(0);
}

/* ---- malloc family ------------------------------------------------------- */

static void heap_grows_unless_told_otherwise(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    assert_int_equal(mm.heap.options.allocator.kind, LOAM_ALLOCATOR_HEAP);
    assert_int_equal(mm.heap.options.lock, LOAM_LOCKED_TICKET);
    assert_false(mm.heap.options.debug);
    EACH_HEAP
    {
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        assert_int_equal(mm.heap.options.allocator.kind, boot.heap_kind);
        assert_int_equal(mm.heap.options.debug, boot.heap_debug);
        assert_null(loam_audit(&mm));
    }
}

/* NULL where it should be, and nothing has changed then. */
static void expect_null(void *block, uint64_t digest)
{
    assert_null(block);
    assert_int_equal(loam_digest(&mm), digest);
}

static void malloc_family_serves_from_every_heap(void **state)
{
    (void)state;
    EACH_HEAP
    {
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        unsigned char *a = loam_malloc(&mm, 100);
        uint64_t *b = loam_calloc(&mm, 10, 8);
        void *c = loam_aligned_alloc(&mm, 4096, 10);
        void *d = loam_aligned_alloc(&mm, 1, 33);
        assert_non_null(a);
        assert_non_null(b);
        assert_non_null(c);
        assert_int_equal(((uintptr_t)a | (uintptr_t)b | (uintptr_t)d) % 16, 0);
        assert_int_equal((uintptr_t)c % 4096, 0);
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(b[i], 0);
        if (boot.heap_kind != LOAM_ALLOCATOR_HEAP) {
            const unsigned char *heap = machine_ram(mm.heap_range.start.addr);
            assert_in_range((uintptr_t)a, (uintptr_t)heap, (uintptr_t)heap + MIB(4) - 100);
        }
        memset(a, 0x77, 100);
        a = loam_realloc(&mm, a, 5000);
        assert_non_null(a);
        assert_int_equal((uintptr_t)a % 16, 0);
        for (unsigned i = 0; i < 100; i++)
            assert_int_equal(a[i], 0x77);
        heap_settle();
        assert_int_equal(heap_stats().heap.used_count, 4);
        const uint64_t digest = loam_digest(&mm);
        expect_null(loam_calloc(&mm, SIZE_MAX / 2, 4), digest);
        expect_null(loam_malloc(&mm, MIB(80)), digest);
        expect_null(loam_realloc(&mm, a, MIB(80)), digest);
        expect_null(loam_aligned_alloc(&mm, 24, 8), digest);
        expect_null(loam_aligned_alloc(&mm, 12, 8), digest); /* less than what malloc gives */
        expect_null(loam_aligned_alloc(&mm, 0, 8), digest);
        loam_free_sized(&mm, a, 5000);
        loam_free(&mm, b);
        loam_free(&mm, c);
        loam_free(&mm, d);
        heap_settle();
        assert_int_equal(heap_stats().heap.used_count, 0);
        assert_int_equal(heap_stats().heap.used_bytes, 0);
        assert_int_equal(heap_stats().alloc_count, heap_is_direct() ? 0 : 4);
        assert_int_equal(heap_stats().free_count, heap_is_direct() ? 0 : 4);
        assert_null(loam_audit(&mm));
        /* One block again: a request for nearly all is served. */
        void *nearly_all = loam_malloc(&mm, MIB(4) - KIB(64));
        assert_non_null(nearly_all);
        loam_free(&mm, nearly_all);
    }
}

static void malloc_H01_of_nothing_is_a_block_of_its_own(void **state)
{
    (void)state;
    EACH_HEAP
    {
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        void *a = loam_malloc(&mm, 0), *b = loam_calloc(&mm, 0, 7), *c = loam_realloc(&mm, NULL, 0);
        assert_non_null(a);
        assert_non_null(b);
        assert_non_null(c);
        assert_true(a != b && b != c && a != c);
        loam_free(&mm, a);
        loam_free_sized(&mm, b, 0);
        loam_free(&mm, c);
        loam_free(&mm, NULL);
        loam_free_sized(&mm, NULL, 3);
        assert_null(loam_audit(&mm));
    }
}

/* 16, whatever a kind's own grain is; but what cannot hold a type that needs 16. */
static void malloc_aligns_every_size_for_any_type(void **state)
{
    (void)state;
    EACH_HEAP
    {
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        for (size_t size = 0; size < 100; size++) {
            const uintptr_t at = (uintptr_t)loam_malloc(&mm, size);
            const size_t align = heap_is_direct() && size <= 8 ? 8 : LOAM_MALLOC_ALIGN;
            assert_true(at != 0 && at % align == 0);
        }
    }
}

static void malloc_H02_H03_refuses_sizes_that_overflow(void **state)
{
    (void)state;
    EACH_HEAP
    {
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        const uint64_t digest = loam_digest(&mm);
        for (size_t k = 0; k <= 4096; k += 64)
            assert_null(loam_malloc(&mm, SIZE_MAX - k));
        assert_null(loam_malloc(&mm, SIZE_MAX / 2 + 1));
        assert_null(loam_calloc(&mm, SIZE_MAX / 2 + 1, 2)); /* wraps to 0 */
        assert_null(loam_calloc(&mm, SIZE_MAX, SIZE_MAX));  /* wraps to 1 */
        assert_null(loam_realloc(&mm, NULL, SIZE_MAX));
        assert_null(loam_aligned_alloc(&mm, SIZE_MAX / 2 + 1, 1));
        assert_int_equal(loam_digest(&mm), digest);
    }
}

static void malloc_H35_usable_is_what_was_asked_for_or_more(void **state)
{
    (void)state;
    EACH_HEAP
    {
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        const bool is_known = boot.heap_debug || boot.heap_kind != LOAM_ALLOCATOR_BUMP;
        assert_int_equal(loam_malloc_usable(&mm, NULL), 0);
        for (size_t size = 1; size < 6000; size += 97) {
            void *block = loam_malloc(&mm, size);
            const size_t usable = loam_malloc_usable(&mm, block);
            const size_t waste = size / (heap_is_direct() ? 4 : 8) + 16;
            assert_in_range(usable, is_known ? size : 0, is_known ? size + waste : 0);
            loam_free_sized(&mm, block, size);
        }
    }
}

/* The oracle: what each block must hold, by a number of its own. */
#define MODEL_BLOCKS 48u
#define MODEL_STEPS  1500u

struct model_block {
    unsigned char *start;
    size_t size;
    unsigned char mark;
};

static void model_expect(const struct model_block *of, size_t size)
{
    size_t at = 0;
    while (at < size && of->start[at] == of->mark)
        at++;
    assert_int_equal(at, size);
}

static void model_step(struct model_block *of)
{
    const size_t size = (size_t)test_random_below(test_random_below(8) == 0 ? 9000 : 400);
    const uint64_t what = test_random_below(6);
    if (of->start == NULL) {
        const size_t align = (size_t)16 << (what == 0 ? test_random_below(6) : 0);
        of->start = what == 1 ? loam_calloc(&mm, size, 1) : loam_aligned_alloc(&mm, align, size);
        if (of->start == NULL)
            return;
        assert_int_equal((uintptr_t)of->start % align, 0);
        if (what == 1)
            model_expect(&(struct model_block){ of->start, size, 0 }, size);
        of->size = size;
    } else if (what < 3) {
        unsigned char *moved = loam_realloc(&mm, of->start, size);
        if (moved == NULL)
            return;
        of->start = moved;
        model_expect(of, size < of->size ? size : of->size);
        of->size = size;
    } else {
        model_expect(of, of->size);
        if (what == 3)
            loam_free_sized(&mm, of->start, of->size);
        else
            loam_free(&mm, of->start);
        of->start = NULL;
        return;
    }
    of->mark = (unsigned char)test_random_below(255);
    memset(of->start, of->mark, of->size);
}

static void malloc_keeps_contents_apart_over_every_heap(void **state)
{
    (void)state;
    EACH_HEAP
    {
        struct model_block model[MODEL_BLOCKS] = { { 0 } };
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        for (unsigned i = 0; i < MODEL_STEPS; i++) {
            model_step(&model[test_random_below(MODEL_BLOCKS)]);
            if (i % 50 == 0)
                assert_null(loam_locked_audit(&mm.heap));
        }
        for (unsigned i = 0; i < MODEL_BLOCKS; i++) {
            if (model[i].start != NULL)
                model_expect(&model[i], model[i].size);
            loam_free(&mm, model[i].start);
        }
        heap_settle();
        assert_int_equal(heap_stats().heap.used_count, 0);
        assert_int_equal(heap_stats().heap.used_bytes, 0);
        assert_null(loam_audit(&mm));
    }
}

/* Whichever step of a request fails, it is as if it had not been made. */
static void malloc_H25_survives_every_failure(void **state)
{
    (void)state;
    EACH_HEAP
    {
        unsigned failures = 0;
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        unsigned char *kept = loam_malloc(&mm, 64);
        memset(kept, 0x5a, 64);
        INJECT_EACH_POINT
        {
            const bool grows = boot.heap_kind == LOAM_ALLOCATOR_HEAP; /* what it keeps may change */
            if (grows)
                loam_heap_trim(&mm.cpu_heap);
            const uint64_t digest = grows ? loam_locked_digest(&mm.heap) : loam_digest(&mm);
            INJECT_ARM();
            void *block = loam_malloc(&mm, 3000); /* more than a size class */
            INJECT_DISARM();
            failures += block == NULL;
            if (block == NULL)
                assert_int_equal(grows ? loam_locked_digest(&mm.heap) : loam_digest(&mm), digest);
            assert_null(loam_audit(&mm));
            loam_free(&mm, block);
            heap_settle();
        }
        assert_true(failures > 0);
        inject_fail_at(1, true);
        assert_null(loam_realloc(&mm, kept, 50000));
        inject_fail_at(0, false);
        assert_int_equal(kept[0] + kept[63], 2 * 0x5a);
        loam_free_sized(&mm, kept, 64);
        assert_null(loam_audit(&mm));
    }
}

static void expect_double_free(const char *rule)
{
    void *block = loam_malloc(&mm, 100);
    loam_free(&mm, block);
    EXPECT_PANIC(rule, loam_free(&mm, block));
    assert_int_equal(panic_trap.seen.subject, (uintptr_t)block);
}

static void malloc_H10_double_free_panics_whatever_the_heap(void **state)
{
    static const char *const rules[] = {
        [LOAM_ALLOCATOR_BUMP] = "bump: not a block of this heap",
        [LOAM_ALLOCATOR_FREELIST] = "freelist: block is already free",
        [LOAM_ALLOCATOR_BLOCK] = "block: block is already free",
        [LOAM_ALLOCATOR_ARENA] = "arena: block is already free",
        [LOAM_ALLOCATOR_HEAP] = "heap: already free",
    };
    (void)state;
    EACH_HEAP
    {
        assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
        assert_non_null(loam_malloc(&mm, 100));
        expect_double_free(boot.heap_debug ? "debug: block is already free"
                                           : rules[boot.heap_kind]);
    }
}

/* The debug layer blames who called the malloc family, not the family. */
static void debug_names_the_caller_of_malloc(void **state)
{
    struct loam_debug_block block = { 0 };
    (void)state;
    small_machine(1);
    boot.heap_debug = true;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    void *const made[] = { loam_malloc(&mm, 1), loam_calloc(&mm, 1, 1),
                           loam_aligned_alloc(&mm, 64, 1), loam_realloc(&mm, NULL, 1) };
    const uint64_t here = (uint64_t)(uintptr_t)debug_names_the_caller_of_malloc;
    unsigned count = 0;
    while (loam_debug_next(&mm.heap.debug, &block)) {
        assert_in_range(block.site.addr, here, here + 4096);
        assert_int_equal(block.start.addr, (uintptr_t)made[count]);
        count++;
    }
    assert_int_equal(count, 4);
    loam_free(&mm, made[0]);
    EXPECT_PANIC("debug: block is already free", loam_free_sized(&mm, made[0], 1));
    assert_in_range(mm.heap.debug.blame.caller.addr, here, here + 4096);
    assert_in_range(mm.heap.debug.blame.free_site.addr, here, here + 4096);
}

/* ---- heaps of one's own --------------------------------------------------- */

static void heap_init_makes_every_kind_over_any_span(void **state)
{
    static _Alignas(16) unsigned char span[KIB(64)];
    static struct loam_allocator_room heap;
    struct loam_allocator allocator;
    (void)state;
    for (unsigned kind = LOAM_ALLOCATOR_BUMP; kind <= LOAM_ALLOCATOR_ARENA; kind++) {
        assert_int_equal(loam_allocator_init(&heap, (enum loam_allocator_kind)kind, span + 3,
                                             sizeof span - 3, &allocator),
                         LOAM_OK);
        assert_int_equal(allocator.kind, kind);
        unsigned char *block = loam_allocator_alloc(&allocator, 100, 16);
        assert_in_range((uintptr_t)block, (uintptr_t)span + 3, (uintptr_t)span + sizeof span - 100);
        loam_allocator_free_sized(&allocator, block, 100);
        assert_null(loam_allocator_audit(&allocator));
        assert_int_equal(
            loam_allocator_init(&heap, (enum loam_allocator_kind)kind, NULL, 4096, &allocator),
            LOAM_INVALID);
    }
    assert_int_equal(loam_allocator_init(&heap, LOAM_ALLOCATOR_HEAP, span, sizeof span, &allocator),
                     LOAM_INVALID); /* lies in no span */
    allocator.kind = LOAM_ALLOCATOR_NONE;
    assert_int_equal(loam_allocator_init(&heap, LOAM_ALLOCATOR_NONE, span, sizeof span, &allocator),
                     LOAM_INVALID);
    assert_int_equal(
        loam_allocator_init(&heap, (enum loam_allocator_kind)7, span, sizeof span, &allocator),
        LOAM_INVALID);
    assert_int_equal(allocator.kind, LOAM_ALLOCATOR_NONE);
}

/* ---- the audit sees what is wrong ---------------------------------------- */

static void audit_notices_books_that_do_not_add_up(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    mm.tables.out_count++;
    assert_string_equal(loam_audit(&mm),
                        "loam: frames out of the table stock are not the tables of all spaces");
    mm.tables.out_count--;
    mm.nodes.out_count++;
    assert_string_equal(loam_audit(&mm),
                        "loam: frames out of the node stock are not the nodes of the usage map");
    mm.nodes.out_count--;
    mm.heap_range.size += KIB(4);
    assert_string_equal(loam_audit(&mm), "loam: the heap's span is not what is charged to it");
    mm.heap_range.size -= KIB(4);
    mm.cpu_heap.map.record_pages++;
    assert_string_equal(loam_audit(&mm), "loam: the heap's pages are not what is charged to it");
    mm.cpu_heap.map.record_pages--;

    struct loam_interval interval;
    assert_true(loam_usage_lookup(&mm.usage, mm.space.root, &interval));
    const struct loam_phys_range root = { mm.space.root, KIB(4) };
    assert_int_equal(loam_usage_overwrite(&mm.usage, root, LOAM_OWNER_KERNEL), LOAM_OK);
    assert_string_equal(loam_audit(&mm),
                        "loam: page tables and their spare frames are not what is charged to them");
    assert_int_equal(loam_usage_overwrite(&mm.usage, root, LOAM_OWNER_PAGE_TABLES), LOAM_OK);
    const struct loam_phys_range node = { mm.nodes.first, KIB(4) };
    assert_int_equal(loam_usage_overwrite(&mm.usage, node, LOAM_OWNER_KERNEL), LOAM_OK);
    assert_string_equal(loam_audit(&mm),
                        "loam: metadata and spare frames for nodes are not what is charged to "
                        "them");
    assert_int_equal(loam_usage_overwrite(&mm.usage, node, LOAM_OWNER_METADATA), LOAM_OK);
    assert_null(loam_audit(&mm));
}

/* One wrong number in each layer: the audit names the layer, the digest differs. */
static void audit_and_digest_reach_every_layer(void **state)
{
    (void)state;
    small_machine(1);
    boot.heap_kind = LOAM_ALLOCATOR_ARENA;
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const struct {
        uint64_t *number;
        const char *layer;
    } parts[] = {
        { &mm.memmap.total_bytes[LOAM_MEM_USABLE], "memmap: " },
        { &mm.early.taken_pages, "early: " },
        { &mm.tables.frame_count, "stock: " },
        { &mm.nodes.frame_count, "stock: " },
        { &mm.usage.total_bytes[LOAM_OWNER_HEAP], "usage: " },
        { (uint64_t *)machine_ram(mm.ledger_memory.start.addr) + 2 * LOAM_OWNER_BAD + 1,
          "ledger: " },
        { (uint64_t *)(uintptr_t)&mm.space.table_count, "paging: " },
        { &mm.heap_room.over.arena.used_bytes, "arena: " },
    };
    const uint64_t before = loam_digest(&mm);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        (*parts[i].number)++;
        const char *broken = loam_audit(&mm);
        assert_non_null(broken);
        assert_memory_equal(broken, parts[i].layer, strlen(parts[i].layer));
        assert_int_not_equal(loam_digest(&mm), before);
        (*parts[i].number)--;
        assert_null(loam_audit(&mm));
        assert_int_equal(loam_digest(&mm), before);
    }
    mm.reclaimed = true;
    assert_int_not_equal(loam_digest(&mm), before);
}

static void audit_and_digest_reach_the_frame_allocator(void **state)
{
    (void)state;
    small_machine(1);
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    const uint64_t before = loam_digest(&mm);
    const loam_phys frame = loam_frame_alloc(&mm.frame, 0, LOAM_ZONE_ANY);
    assert_int_not_equal(loam_digest(&mm), before);
    assert_string_equal(loam_audit(&mm),
                        "loam: usable memory is not what is free and what the ledger counts");
    const unsigned lanes = mm.frame.lane_count;
    mm.frame.lane_count = 0; /* a block belongs to a lane that is not there */
    const char *broken = loam_audit(&mm);
    assert_non_null(broken);
    assert_memory_equal(broken, "frame: ", strlen("frame: "));
    mm.frame.lane_count = lanes;
    loam_frame_free(&mm.frame, frame, 0);
    loam_ledger_add(&mm.ledger, LOAM_OWNER_KERNEL, 1);
    assert_int_not_equal(loam_digest(&mm), before);
    assert_string_equal(loam_audit(&mm),
                        "loam: usable memory is not what is free and what the ledger counts");
    assert_true(loam_ledger_sub(&mm.ledger, LOAM_OWNER_KERNEL, 1));
    assert_int_equal(loam_digest(&mm), before);
    assert_null(loam_audit(&mm));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_charges_every_byte_to_one_owner),
        cmocka_unit_test(init_leaves_most_of_a_small_machine),
        cmocka_unit_test(init_trusts_no_ram_to_hold_zeroes_unless_told),
        cmocka_unit_test(init_builds_the_direct_map_and_the_image),
        cmocka_unit_test(enter_moves_each_cpu_onto_the_tables),
        cmocka_unit_test(heap_grows_unless_told_otherwise),
        cmocka_unit_test(malloc_family_serves_from_every_heap),
        cmocka_unit_test(malloc_H01_of_nothing_is_a_block_of_its_own),
        cmocka_unit_test(malloc_aligns_every_size_for_any_type),
        cmocka_unit_test(malloc_H02_H03_refuses_sizes_that_overflow),
        cmocka_unit_test(malloc_H35_usable_is_what_was_asked_for_or_more),
        cmocka_unit_test(malloc_keeps_contents_apart_over_every_heap),
        cmocka_unit_test(malloc_H25_survives_every_failure),
        cmocka_unit_test(malloc_H10_double_free_panics_whatever_the_heap),
        cmocka_unit_test(debug_names_the_caller_of_malloc),
        cmocka_unit_test(heap_init_makes_every_kind_over_any_span),
        cmocka_unit_test(audit_and_digest_reach_every_layer),
        cmocka_unit_test(audit_and_digest_reach_the_frame_allocator),
        cmocka_unit_test(audit_notices_books_that_do_not_add_up),
    };
    return RUN_TESTS(tests);
}
