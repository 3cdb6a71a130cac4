/*
 * paging_space_test.c - spaces that share the kernel's half, come and go, and copy on
 * write: the whole story, with frames that are counted and written to.
 */
#include <unistd.h>

#include "paging_world.h"

static struct loam_space child, other, third;

static void expect_sound(const struct loam_space *any)
{
    const char *const broken = loam_space_audit(any);
    if (broken != NULL)
        fail_msg("%s", broken);
}

/* From now on the CPU runs on the space. */
static void enter(unsigned cpu, const struct loam_space *any)
{
    machine_set_cpu(cpu);
    assert_int_equal(loam_cpu_enter(&any->features, any->root), LOAM_OK);
    machine_set_cpu(0);
}

static uint64_t reads(unsigned cpu, uint64_t virt)
{
    const struct machine_access access = machine_access(cpu, virt, MACHINE_READ);
    return access.fault == MACHINE_OK ? access.phys : UINT64_MAX;
}

/* ---- sharing ----------------------------------------------------------------- */

/*
 *   kernel  [A]  create child  [B): a new entry of the root   unmap [A)
 *   child   sees A             sees B, too                    sees B alone
 */
static void P26_kernel_mappings_are_seen_in_every_space(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        world_start((struct world_options){ .levels = levels });
        const uint64_t far = 0 - GIB(1);
        assert_int_equal(map(HIGHER, KIB(4), GIB(1), RW), LOAM_OK);
        assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
        assert_int_equal(loam_space_create(&other, &space), LOAM_OK);
        enter(1, &child);
        assert_int_equal(reads(1, HIGHER), GIB(1));
        assert_int_equal(reads(1, far), UINT64_MAX);
        assert_int_equal(map(far, MIB(2), GIB(2), RW), LOAM_OK);
        assert_int_equal(map(HIGHER + GIB(512), KIB(4), GIB(3), RW), LOAM_OK);
        assert_int_equal(reads(1, far), GIB(2));
        assert_int_equal(reads(1, HIGHER + GIB(512)), GIB(3));
        expect_sound(&child);
        expect_sound(&other);
        assert_int_equal(loam_space_translate(&other, loam_virt_at(far)).addr, GIB(2));
        assert_int_equal(unmap(HIGHER, KIB(4)), LOAM_OK);
        assert_int_equal(unmap(HIGHER + GIB(512), KIB(4)), LOAM_OK);
        assert_int_equal(reads(1, HIGHER), UINT64_MAX);
        assert_int_equal(reads(1, HIGHER + GIB(512)), UINT64_MAX);
        assert_int_equal(reads(1, far), GIB(2));
        expect_sound(&child);
        enter(1, &space);
        assert_int_equal(loam_space_destroy(&other), LOAM_OK);
        assert_int_equal(loam_space_destroy(&child), LOAM_OK);
        world_check();
    }
}

/* Tables of the kernel's that go, and are used again, are gone for all. */
static void P26_a_root_entry_that_goes_is_forgotten_by_all(void **state)
{
    (void)state;
    world_start((struct world_options){ .frames = 8 });
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    enter(1, &child);
    for (unsigned i = 0; i < 6; i++) {
        const uint64_t at = HIGHER + GIB(512) * i;
        assert_int_equal(map(at, KIB(4), GIB(1) + PAGES(i), RW), LOAM_OK);
        assert_int_equal(reads(1, at), GIB(1) + PAGES(i));
        assert_int_equal(unmap(at, KIB(4)), LOAM_OK);
        assert_int_equal(reads(1, at), UINT64_MAX);
        expect_sound(&child);
    }
    enter(1, &space);
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    world_check();
}

/* A child looks at both halves and changes the lower one alone. */
static void a_child_does_not_change_the_kernels_half(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const loam_phys frame = { GIB(3) };
    const struct loam_virt_range shared = range(HIGHER, KIB(4));
    loam_page_bits seen;
    assert_int_equal(map(HIGHER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    const uint64_t before = world_digest();
    LOAM_SPACE_BATCH(batch, &child);
    assert_int_equal(loam_space_map(&child, range(HIGHER + KIB(4), KIB(4)), frame, RW),
                     LOAM_INVALID);
    assert_int_equal(loam_space_map_frames(&child, loam_virt_at(HIGHER + KIB(4)), &frame, 1, RW),
                     LOAM_INVALID);
    assert_int_equal(loam_space_hold(&child, loam_virt_at(HIGHER + KIB(4)), &frame, 1),
                     LOAM_INVALID);
    assert_int_equal(loam_space_tag(&child, range(HIGHER + KIB(4), KIB(4)), LOAM_ENTRY_TAG, 0),
                     LOAM_INVALID);
    assert_int_equal(loam_space_untag(&child, shared), LOAM_INVALID);
    assert_int_equal(loam_space_publish(&child, shared, RW), LOAM_INVALID);
    assert_int_equal(loam_space_set_soft(&child, shared, 1), LOAM_INVALID);
    assert_int_equal(loam_space_batch_unmap(&batch, shared), LOAM_INVALID);
    assert_int_equal(loam_space_batch_detach(&batch, shared), LOAM_INVALID);
    assert_int_equal(loam_space_batch_protect(&batch, shared, RO), LOAM_INVALID);
    assert_int_equal(loam_space_batch_clear(&batch, shared, 3, &seen), LOAM_INVALID);
    assert_int_equal(loam_space_batch_replace(&batch, shared.start, frame, RW), LOAM_INVALID);
    loam_space_batch_finish(&batch);
    assert_int_equal(world_digest(), before);
    struct loam_translation found;
    struct loam_entry entry;
    assert_int_equal(loam_space_query(&child, shared.start, &found), LOAM_OK);
    assert_int_equal(found.phys.addr, GIB(1));
    assert_int_equal(loam_space_entry(&child, shared.start, &entry), LOAM_OK);
    assert_int_equal(entry.kind, LOAM_ENTRY_PAGE);
    assert_int_equal(loam_space_translate(&child, shared.start).addr, GIB(1));
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    world_check();
}

static void next_goes_on_from_the_own_half_into_the_kernels(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    struct loam_mapping run;
    const uint64_t half = UINT64_C(1) << 47;
    const loam_virt from[] = { { 0 }, { LOWER }, { half - KIB(4) } };
    const loam_virt later[] = { { half }, { UINT64_C(1) << 60 }, { 0 - half }, { HIGHER } };
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(loam_space_next(&child, from[i], &run), LOAM_NOT_FOUND);
    assert_int_equal(map(HIGHER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(map(LOWER, KIB(4), GIB(5), RW), LOAM_OK); /* the kernel's own */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(loam_space_next(&child, from[i], &run), LOAM_OK);
        assert_int_equal(run.virt.start.addr, HIGHER);
    }
    assert_int_equal(loam_space_map(&child, range(half - KIB(4), KIB(4)), loam_phys_at(GIB(2)), RW),
                     LOAM_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(loam_space_next(&child, from[i], &run), LOAM_OK);
        assert_int_equal(run.virt.start.addr, half - KIB(4));
        assert_int_equal(run.virt.size, KIB(4));
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(loam_space_next(&child, later[i], &run), LOAM_OK);
        assert_int_equal(run.virt.start.addr, HIGHER);
    }
    assert_int_equal(loam_space_next(&child, loam_virt_at(HIGHER + KIB(4)), &run), LOAM_NOT_FOUND);
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    world_check();
}

static void audit_looks_at_the_space_itself(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    space.hhdm.seal++;
    assert_string_equal(loam_space_audit(&space), "paging: direct map not from a boot adapter");
    space.hhdm.seal--;
    space.flushing_count = 1;
    assert_string_equal(loam_space_audit(&space), "paging: a flush is pending");
    space.flushing_count = 0;
    space.open_count = 1;
    assert_string_equal(loam_space_audit(&space), "paging: batch was never finished");
    space.open_count = 0;
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(protect(LOWER, KIB(4), RO), LOAM_OK);
    for (unsigned i = 0; i < LOAM_SPACE_RECENT; i++) { /* the table that is remembered, too */
        const uint64_t before = space.recent[i];
        space.recent[i] = before != 0 ? before + PAGES(1) : PAGES(1) | 1;
        assert_string_equal(loam_space_audit(&space),
                            "paging: remembers a table that is not there");
        space.recent[i] = before;
        assert_null(loam_space_audit(&space));
    }
    space.table_count++;
    assert_string_equal(loam_space_audit(&space), "paging: fewer tables than counted");
}

static void audit_compares_the_kernels_half(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    uint64_t *const root = machine_ram(child.root.addr);
    for (unsigned i = 256; i < 512; i++) {
        root[i] ^= PAGES(1);
        assert_string_equal(loam_space_audit(&child), "paging: higher half is not the kernel's");
        root[i] ^= PAGES(1);
    }
    expect_sound(&child);
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
}

static void create_without_a_frame_changes_nothing(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    const uint64_t before = world_digest();
    inject_fail_at(1, false);
    assert_int_equal(loam_space_create(&child, &space), LOAM_NO_MEMORY);
    assert_true(inject_fired());
    inject_pause();
    assert_int_equal(world_digest(), before);
    assert_null(space.sharer);
    world_check();
}

/* ---- the end ------------------------------------------------------------------ */

/* In any order; those that are left still follow the kernel. */
static void P25_destroy_gives_back_just_what_is_the_spaces(void **state)
{
    (void)state;
    static struct loam_space *const spaces[] = { &child, &other, &third };
    static const unsigned orders[][3] = { { 0, 1, 2 }, { 1, 0, 2 }, { 2, 1, 0 }, { 1, 2, 0 } };
    for (unsigned o = 0; o < 4; o++) {
        world_start((struct world_options){ .frames = 128 });
        assert_int_equal(map(HIGHER, KIB(4), GIB(1), RW), LOAM_OK);
        const uint64_t before = stock.frame_count;
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(loam_space_create(spaces[i], &space), LOAM_OK);
            assert_int_equal(
                loam_space_map(spaces[i], range(LOWER, GIB(1) + KIB(4)), loam_phys_at(0), RW),
                LOAM_OK);
            assert_int_equal(loam_space_map(spaces[i], range(0, KIB(4)), loam_phys_at(0), RW),
                             LOAM_OK);
            assert_int_equal(
                loam_space_tag(spaces[i], range(GIB(600), MIB(4)), LOAM_ENTRY_GUARD, 1), LOAM_OK);
        }
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(loam_space_destroy(spaces[orders[o][i]]), LOAM_OK);
            const uint64_t at = HIGHER + GIB(512) * (i + 1);
            assert_int_equal(map(at, KIB(4), GIB(2), RW), LOAM_OK);
            for (unsigned left = i + 1; left < 3; left++) {
                expect_sound(spaces[orders[o][left]]);
                assert_int_equal(
                    loam_space_translate(spaces[orders[o][left]], loam_virt_at(at)).addr, GIB(2));
            }
            assert_int_equal(unmap(at, KIB(4)), LOAM_OK);
        }
        assert_int_equal(stock.frame_count, before);
        expect_page(HIGHER, GIB(1), RW);
        assert_null(space.sharer);
        world_check();
    }
}

/* O(tables), not O(address space): pages at both ends of it, many times. */
static void P25_destroy_visits_tables_only(void **state)
{
    (void)state;
    world_start((struct world_options){ .levels = 5, .frames = 64 });
    const uint64_t half = UINT64_C(1) << 56;
    (void)alarm(60); /* seconds; it takes none */
    for (unsigned round = 0; round < 500; round++) {
        assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
        for (uint64_t at = 0; at < half; at += half / 4)
            assert_int_equal(loam_space_map(&child, range(at, KIB(4)), loam_phys_at(0), RW),
                             LOAM_OK);
        assert_int_equal(child.table_count, 17);
        assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    }
    (void)alarm(0);
    world_check();
}

static void P25_the_kernels_space_ends_last(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER, GIB(1) + KIB(4), 0, RW), LOAM_OK);
    assert_int_equal(map(LOWER, KIB(4), 0, RW), LOAM_OK);
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    EXPECT_PANIC("paging: space that ends is shared", (void)!loam_space_destroy(&space));
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    assert_int_equal(loam_space_destroy(&space), LOAM_OK);
    assert_int_equal(stock.frame_count, world_frames);
    assert_int_equal(stock.out_count, 0);
}

/* ---- copy on write ------------------------------------------------------------- */

/* Frames that are written to, and how many pages show each. */
#define FRAMES_AT MIB(64)
#define FRAMES    16u
static unsigned references[FRAMES];

static unsigned frame_index(uint64_t phys)
{
    assert_in_range(phys, FRAMES_AT, FRAMES_AT + PAGES(FRAMES) - 1);
    return (unsigned)((phys - FRAMES_AT) >> 12);
}

static uint64_t frame_take(void)
{
    for (unsigned i = 0; i < FRAMES; i++) {
        if (references[i] == 0) {
            references[i] = 1;
            return FRAMES_AT + PAGES(i);
        }
    }
    fail_msg("no frame");
    return 0;
}

static void frame_drop(uint64_t phys)
{
    assert_int_not_equal(references[frame_index(phys)], 0);
    references[frame_index(phys)]--;
}

/* What a kernel's page fault handler does with a write to a page that is shared. */
static void copy_on_write(struct loam_space *any, uint64_t virt)
{
    struct loam_translation old;
    assert_int_equal(loam_space_query(any, loam_virt_at(virt), &old), LOAM_OK);
    assert_true(old.is_cow && (old.attr.prot & LOAM_PROT_WRITE) != 0);
    uint64_t frame = old.phys.addr;
    if (references[frame_index(frame)] > 1) {
        frame = frame_take();
        memcpy(machine_ram(frame), machine_ram(old.phys.addr), 4096);
    }
    LOAM_SPACE_BATCH(batch, any);
    assert_int_equal(
        loam_space_batch_replace(&batch, loam_virt_at(virt), loam_phys_at(frame), old.attr),
        LOAM_OK);
    loam_space_batch_finish(&batch);
    if (frame != old.phys.addr)
        frame_drop(old.phys.addr);
}

static void write_byte(unsigned cpu, struct loam_space *any, uint64_t virt, unsigned char value)
{
    struct machine_access access = machine_access(cpu, virt, MACHINE_WRITE);
    if (access.fault == MACHINE_PROTECTION) {
        copy_on_write(any, virt);
        access = machine_access(cpu, virt, MACHINE_WRITE);
    }
    assert_int_equal(access.fault, MACHINE_OK);
    *(unsigned char *)machine_ram(access.phys) = value;
}

static unsigned char read_byte(unsigned cpu, uint64_t virt)
{
    const uint64_t phys = reads(cpu, virt);
    return *(const unsigned char *)machine_ram(phys);
}

/* All pages of a space that ends drop their frames. */
static void end_space(struct loam_space *any)
{
    struct loam_mapping run;
    loam_virt at = { 0 };
    while (loam_space_next(any, at, &run) == LOAM_OK && run.virt.start.addr >> 63 == 0) {
        for (uint64_t done = 0; done < run.virt.size; done += KIB(4))
            frame_drop(run.phys.addr + done);
        at = loam_virt_at(run.virt.start.addr + run.virt.size);
    }
    assert_int_equal(loam_space_destroy(any), LOAM_OK);
}

/* After a clone: one reference more for each page of the child's. */
static void count_references(struct loam_space *any)
{
    struct loam_mapping run;
    loam_virt at = { 0 };
    while (loam_space_next(any, at, &run) == LOAM_OK && run.virt.start.addr >> 63 == 0) {
        for (uint64_t done = 0; done < run.virt.size; done += KIB(4))
            references[frame_index(run.phys.addr + done)]++;
        at = loam_virt_at(run.virt.start.addr + run.virt.size);
    }
}

/*
 *   parent  writes 1..4   clone   writes page 0            ends
 *   child                         writes page 1, reads              writes all
 */
static void pages_are_copied_when_one_of_two_writes(void **state)
{
    (void)state;
    world_start((struct world_options){ .frames = 128 });
    memset(references, 0, sizeof references);
    machine_add_ram(FRAMES_AT, PAGES(FRAMES));
    assert_int_equal(loam_space_create(&other, &space), LOAM_OK); /* the parent */
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(
            loam_space_map(&other, range(LOWER + PAGES(i), KIB(4)), loam_phys_at(frame_take()), RW),
            LOAM_OK);
    enter(0, &other);
    enter(1, &child);
    for (unsigned i = 0; i < 4; i++)
        write_byte(0, &other, LOWER + PAGES(i), (unsigned char)(i + 1));
    assert_int_equal(loam_space_clone(&child, &other), LOAM_OK);
    count_references(&child);
    write_byte(0, &other, LOWER, 11);
    write_byte(1, &child, LOWER + KIB(4), 22);
    const unsigned char want[2][4] = { { 11, 2, 3, 4 }, { 1, 22, 3, 4 } };
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(read_byte(cpu, LOWER + PAGES(i)), want[cpu][i]);
    }
    expect_sound(&other);
    expect_sound(&child);
    enter(0, &space);
    end_space(&other);
    for (unsigned i = 0; i < 4; i++) {
        write_byte(1, &child, LOWER + PAGES(i), (unsigned char)(i + 31));
        assert_int_equal(read_byte(1, LOWER + PAGES(i)), i + 31);
    }
    enter(1, &space);
    end_space(&child);
    for (unsigned i = 0; i < FRAMES; i++)
        assert_int_equal(references[i], 0);
    world_check();
}

/* What a CPU remembers as writable is not, once clone has returned. */
static void clone_takes_the_right_to_write_from_every_cpu(void **state)
{
    (void)state;
    const uint64_t sizes[] = { KIB(4), MIB(2), GIB(1) };
    for (unsigned i = 0; i < 3; i++) {
        world_start((struct world_options){ 0 });
        assert_int_equal(map(LOWER, sizes[i], GIB(1), RW), LOAM_OK);
        for (unsigned cpu = 0; cpu < 2; cpu++)
            assert_int_equal(machine_access(cpu, LOWER, MACHINE_WRITE).fault, MACHINE_OK);
        assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
        assert_int_equal(loam_space_clone(&child, &space), LOAM_OK);
        for (unsigned cpu = 0; cpu < 2; cpu++)
            assert_int_equal(machine_access(cpu, LOWER, MACHINE_WRITE).fault, MACHINE_PROTECTION);
        assert_true(query(LOWER).is_cow);
        assert_int_equal(query(LOWER).attr.prot, LOAM_PROT_WRITE);
        assert_int_equal(query(LOWER).bits, LOAM_PAGE_ACCESSED | LOAM_PAGE_DIRTY);
        /* A part of it, for the child alone. */
        LOAM_SPACE_BATCH(batch, &child);
        assert_int_equal(loam_space_batch_replace(&batch, loam_virt_at(LOWER + sizes[i] - KIB(4)),
                                                  loam_phys_at(GIB(7)), RW),
                         LOAM_OK);
        loam_space_batch_finish(&batch);
        struct loam_translation seen;
        assert_int_equal(loam_space_query(&child, loam_virt_at(LOWER + sizes[i] - 1), &seen),
                         LOAM_OK);
        assert_true(!seen.is_cow && seen.phys.addr == GIB(7) + 4095 && seen.page_size == KIB(4));
        if (i != 0) {
            assert_int_equal(loam_space_query(&child, loam_virt_at(LOWER), &seen), LOAM_OK);
            assert_true(seen.is_cow && seen.phys.addr == GIB(1));
        }
        expect_sound(&child);
        assert_int_equal(loam_space_destroy(&child), LOAM_OK);
        world_check();
    }
}

/* Guards, tags, software bits and rights come along; what is protected stays to be copied. */
static void clone_copies_all_but_held_frames(void **state)
{
    (void)state;
    world_start((struct world_options){ .frames = 128 });
    assert_int_equal(map(LOWER, KIB(8), GIB(1), RX), LOAM_OK);
    assert_int_equal(map(LOWER + MIB(2), MIB(2), GIB(2), RW), LOAM_OK);
    assert_int_equal(loam_space_set_soft(&space, range(LOWER + KIB(4), KIB(4)), 6), LOAM_OK);
    assert_int_equal(tag(LOWER + GIB(1), GIB(1), LOAM_ENTRY_GUARD, 5), LOAM_OK);
    assert_int_equal(tag(LOWER + GIB(2), KIB(4), LOAM_ENTRY_TAG, 9), LOAM_OK);
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    const uint64_t before = world_digest();
    const loam_phys frame = { GIB(3) };
    assert_int_equal(loam_space_hold(&space, loam_virt_at(LOWER + MIB(8)), &frame, 1), LOAM_OK);
    assert_int_equal(loam_space_clone(&child, &space), LOAM_STATE);
    assert_int_equal(collect(LOWER + MIB(8), KIB(4), NULL), KIB(4));
    assert_int_equal(world_digest(), before);
    assert_int_equal(loam_space_clone(&child, &space), LOAM_OK);
    assert_int_equal(child.table_count, space.table_count);
    assert_int_equal(loam_space_clone(&child, &space), LOAM_STATE);
    struct loam_mapping mine, its;
    loam_virt at = { 0 };
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(loam_space_next(&space, at, &mine), LOAM_OK);
        assert_int_equal(loam_space_next(&child, at, &its), LOAM_OK);
        assert_memory_equal(&mine, &its, sizeof mine);
        assert_int_equal(mine.is_cow, mine.kind == LOAM_ENTRY_PAGE);
        at = loam_virt_at(mine.virt.start.addr + mine.virt.size);
    }
    assert_int_equal(loam_space_next(&space, at, &mine), LOAM_NOT_FOUND);
    assert_int_equal(protect(LOWER, KIB(8), RW), LOAM_OK);
    assert_true(query(LOWER).is_cow);
    assert_int_equal(query(LOWER).attr.prot, LOAM_PROT_WRITE);
    assert_int_equal(machine_access(0, LOWER, MACHINE_WRITE).fault, MACHINE_PROTECTION);
    assert_int_equal(query(LOWER + KIB(4)).soft, 6);
    /* A clone of the clone is one more of the same. */
    assert_int_equal(loam_space_create(&third, &space), LOAM_OK);
    assert_int_equal(loam_space_clone(&third, &child), LOAM_OK);
    assert_int_equal(loam_space_digest(&third), loam_space_digest(&child));
    expect_sound(&third);
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    assert_int_equal(loam_space_destroy(&third), LOAM_OK);
    world_check();
}

static void clone_of_nothing_is_nothing(void **state)
{
    (void)state;
    world_start((struct world_options){ 0 });
    assert_int_equal(map(HIGHER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
    assert_int_equal(loam_space_clone(&child, &space), LOAM_OK);
    assert_int_equal(child.table_count, 1);
    assert_int_equal(machine_flush_count(), 0);
    assert_false(query(HIGHER).is_cow);
    assert_int_equal(loam_space_destroy(&child), LOAM_OK);
    world_check();
}

static void clone_with_too_few_tables_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t frames = 6; frames <= 9; frames++) { /* two roots, 4 tables to copy */
        world_start((struct world_options){ .frames = 2 + frames - 2 });
        assert_int_equal(map(LOWER + MIB(2) - KIB(4), KIB(8), GIB(1), RW), LOAM_OK);
        assert_int_equal(space.table_count, 5);
        assert_int_equal(loam_space_create(&child, &space), LOAM_OK);
        const uint64_t before = world_digest();
        assert_int_equal(loam_space_clone(&child, &space), LOAM_NO_MEMORY);
        assert_int_equal(world_digest(), before);
        assert_int_equal(child.table_count, 1);
        assert_int_equal(machine_flush_count(), 0);
        assert_int_equal(loam_space_destroy(&child), LOAM_OK);
        world_check();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(P26_kernel_mappings_are_seen_in_every_space),
        cmocka_unit_test(P26_a_root_entry_that_goes_is_forgotten_by_all),
        cmocka_unit_test(a_child_does_not_change_the_kernels_half),
        cmocka_unit_test(next_goes_on_from_the_own_half_into_the_kernels),
        cmocka_unit_test(audit_looks_at_the_space_itself),
        cmocka_unit_test(audit_compares_the_kernels_half),
        cmocka_unit_test(create_without_a_frame_changes_nothing),
        cmocka_unit_test(P25_destroy_gives_back_just_what_is_the_spaces),
        cmocka_unit_test(P25_destroy_visits_tables_only),
        cmocka_unit_test(P25_the_kernels_space_ends_last),
        cmocka_unit_test(pages_are_copied_when_one_of_two_writes),
        cmocka_unit_test(clone_takes_the_right_to_write_from_every_cpu),
        cmocka_unit_test(clone_copies_all_but_held_frames),
        cmocka_unit_test(clone_of_nothing_is_nothing),
        cmocka_unit_test(clone_with_too_few_tables_changes_nothing),
    };
    return RUN_TESTS(tests);
}
