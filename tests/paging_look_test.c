/*
 * paging_look_test.c - who looks without a lock, stopped before each of his loads in turn:
 * meanwhile another CPU does all of a change, and the tables are other pages'.
 *
 *     look    load load load | load load ...
 *     change                 ^ unmap, give tables back, use them for something else
 */
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"

/* ---- the library's looks, with steps ------------------------------------------- */

static void look_step(void);

#ifdef __clang__
#define LOOK_LOAD(p, order) __c11_atomic_load((p), (order))
#else
#define LOOK_LOAD(p, order) __atomic_load_n((p), (order))
#endif
#undef atomic_load
#undef atomic_load_explicit
#define atomic_load(p)                 (look_step(), LOOK_LOAD((p), __ATOMIC_SEQ_CST))
#define atomic_load_explicit(p, order) (look_step(), LOOK_LOAD((p), (order)))

/* Names of its own beside the library that all tests are linked with. */
#define loam_space_translate stepped_translate
#define loam_space_query     stepped_query
#define loam_space_entry     stepped_entry
#define loam_space_next      stepped_next
#define loam_space_has_table stepped_has_table
#define loam_space_audit     stepped_audit
#define loam_space_digest    stepped_digest

#include "../src/paging_look.c"

#undef loam_space_translate
#undef loam_space_query
#undef loam_space_entry
#undef loam_space_next
#undef loam_space_has_table
#undef loam_space_audit
#undef loam_space_digest

loam_phys loam_space_translate(const struct loam_space *space, loam_virt virt);
enum loam_status loam_space_query(const struct loam_space *space, loam_virt virt,
                                  struct loam_translation *out);
enum loam_status loam_space_entry(const struct loam_space *space, loam_virt virt,
                                  struct loam_entry *out);
const char *loam_space_audit(const struct loam_space *space);
uint64_t loam_space_digest(const struct loam_space *space);

#include "paging_world.h"

/* ---- one change in the middle of a look ----------------------------------------- */

static unsigned steps, stop_at; /* loads of this look; before which one */
static void (*change)(void);

static void look_step(void)
{
    if (change == NULL || ++steps != stop_at)
        return;
    void (*const now)(void) = change;
    change = NULL;
    now();
}

/* Looks at LOWER, stopped before every load; each must find @p before or @p after. */
static void look_through(void (*begin)(void), void (*meanwhile)(void), uint64_t before,
                         uint64_t after)
{
    for (unsigned how = 0; how < 3; how++) {
        bool done = false;
        for (stop_at = 1; !done; stop_at++) {
            struct loam_translation seen = { .phys = loam_phys_none() };
            struct loam_entry entry = { .kind = LOAM_ENTRY_EMPTY };
            uint64_t found = UINT64_MAX;
            begin();
            steps = 0;
            change = meanwhile;
            if (how == 0)
                found = stepped_translate(&space, loam_virt_at(LOWER)).addr;
            else if (how == 1)
                found = stepped_query(&space, loam_virt_at(LOWER), &seen) == LOAM_OK
                            ? seen.phys.addr
                            : UINT64_MAX;
            else if (stepped_entry(&space, loam_virt_at(LOWER), &entry) == LOAM_OK &&
                     entry.kind == LOAM_ENTRY_PAGE)
                found = entry.raw & UINT64_C(0x000ffffffffff000);
            done = change != NULL; /* the look was over before */
            change = NULL;
            if (done)
                meanwhile();
            assert_true(found == before || found == after);
            assert_int_equal(loam_space_translate(&space, loam_virt_at(LOWER)).addr, after);
            world_check();
        }
        assert_true(stop_at > 4);
    }
}

#define NOTHING UINT64_MAX

static bool forget; /* which tables of level 2 were used lately */

static void map_in(uint64_t frames)
{
    world_start((struct world_options){ .frames = frames });
    assert_int_equal(map(LOWER, KIB(4), GIB(1), RW), LOAM_OK);
    assert_int_equal(protect(LOWER, KIB(4), RO), LOAM_OK); /* its table is remembered */
    if (forget)
        memset((void *)&space.recent, 0, sizeof space.recent);
}

static void map_one(void)
{
    map_in(8);
}

/* The same tables, in every order, for pages with the same indices elsewhere. */
static void fill_all_frames(void)
{
    for (unsigned i = 0; stock.frame_count >= 3 || i < 4; i++) {
        const uint64_t at = HIGHER + GIB(512) * (i / 4) + GIB(i % 4);
        if (map(at, KIB(4), GIB(9), RX) != LOAM_OK) /* such an entry may pass for a link */
            return;
    }
}

static unsigned shift; /* 0: each is of the level it was of; 1, 2: of a lower one */

static void unmap_and_use_the_tables(void)
{
    loam_phys aside[2];
    assert_int_equal(unmap(LOWER, KIB(4)), LOAM_OK);
    for (unsigned i = 0; i < shift; i++) {
        assert_int_equal(loam_stock_take(&stock, 1, &aside[i]), LOAM_OK);
        aside[i] = loam_stock_next_raw(&stock, &aside[i]);
    }
    fill_all_frames();
    for (unsigned i = 0; i < shift; i++)
        loam_stock_put(&stock, aside[i]);
}

static void P22_a_look_while_the_tables_become_others(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        forget = i % 2 != 0;
        shift = i / 2;
        look_through(map_one, unmap_and_use_the_tables, GIB(1), NOTHING);
    }
    shift = 0;
}

static void unmap_and_map_again(void)
{
    unmap_and_use_the_tables();
    assert_int_equal(unmap(HIGHER, KIB(4)), LOAM_OK);
    assert_int_equal(unmap(HIGHER + GIB(1), KIB(4)), LOAM_OK);
    assert_int_equal(map(LOWER, KIB(4), GIB(2), RW), LOAM_OK);
}

static void P22_a_look_while_the_page_becomes_another(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        forget = i != 0;
        look_through(map_one, unmap_and_map_again, GIB(1), GIB(2));
    }
}

static void map_and_split(void)
{
    world_start((struct world_options){ .frames = 8 });
    assert_int_equal(map(LOWER, MIB(2), GIB(1), RW), LOAM_OK);
    assert_int_equal(protect(LOWER + KIB(4), KIB(4), RO), LOAM_OK);
    if (forget)
        memset((void *)&space.recent, 0, sizeof space.recent);
}

static void merge_and_use_the_table(void)
{
    assert_int_equal(protect(LOWER + KIB(4), KIB(4), RW), LOAM_OK);
    assert_int_equal(page_size_at(LOWER), MIB(2));
    for (unsigned i = 0; i < 512 && stock.frame_count != 0; i++)
        assert_int_equal(map(HIGHER + MIB(2 * i), KIB(4), GIB(9), RW), LOAM_OK);
}

static void a_look_while_a_page_is_whole_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        forget = i != 0;
        look_through(map_and_split, merge_and_use_the_table, GIB(1), GIB(1));
    }
}

static void split_it(void)
{
    assert_int_equal(protect(LOWER + KIB(4), KIB(4), RO), LOAM_OK);
}

static void map_large(void)
{
    world_start((struct world_options){ 0 });
    assert_int_equal(map(LOWER, GIB(1), GIB(1), RW), LOAM_OK);
}

static void a_look_while_a_page_is_split(void **state)
{
    (void)state;
    look_through(map_large, split_it, GIB(1), GIB(1));
}

/* ---- the library itself, stopped at a table ------------------------------------------ */

/* The table that cannot be read; what tries to finds the change done. */
static void *trapped_table;
static volatile sig_atomic_t trapped;

static void change_and_let_read(int number)
{
    (void)number;
    if (trapped++ != 0 || mprotect(trapped_table, 4096, PROT_READ | PROT_WRITE) != 0)
        _exit(99); /* read from where there is no table */
    unmap_and_use_the_tables();
}

/* The table of @p level on the way to LOWER. */
static void *table_at(unsigned level)
{
    uint64_t table = space.root.addr;
    for (unsigned l = 4; l > level; l--)
        table = *(uint64_t *)machine_ram(table + (LOWER >> (12 + 9 * (l - 1)) & 511) * 8) &
                UINT64_C(0x000ffffffffff000);
    return machine_ram(table);
}

static void P22_the_library_looks_again_when_tables_went(void **state)
{
    (void)state;
    struct sigaction trap = { .sa_handler = change_and_let_read, .sa_flags = SA_NODEFER };
    struct sigaction before;
    struct loam_translation seen;
    for (unsigned i = 0; i < 2 * 2 * 8 * 3; i++) {
        const unsigned level = 1 + i % 3;
        forget = i / 3 % 2 != 0;
        shift = i / 12 % 3;
        map_in(6 + i / 12);
        trapped_table = table_at(level);
        trapped = 0;
        assert_int_equal(sigaction(SIGSEGV, &trap, &before), 0);
        assert_int_equal(mprotect(trapped_table, 4096, PROT_NONE), 0);
        const bool found =
            i / 6 % 2 == 0 ? !loam_phys_is_none(loam_space_translate(&space, loam_virt_at(LOWER)))
                           : loam_space_query(&space, loam_virt_at(LOWER), &seen) != LOAM_NOT_FOUND;
        assert_int_equal(mprotect(trapped_table, 4096, PROT_READ | PROT_WRITE), 0);
        assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
        assert_int_equal(trapped, level < 3 || forget ? 1 : 0);
        assert_int_equal(found, trapped == 0);
        world_check();
    }
    shift = 0;
}

/* ---- the count that tells who looks ----------------------------------------------- */

static uint64_t gone_before, out_before;

static void tables_are_not_back_yet(const struct loam_tlb_flush *flush)
{
    (void)flush;
    assert_int_equal(stock.out_count, out_before);
}

/* However a table goes: it is counted, after the flush and before it is given back. */
static void each_way_to_give_a_table_back_is_counted(void **state)
{
    (void)state;
    for (unsigned how = 0; how < 4; how++) {
        world_start((struct world_options){ 0 });
        if (how < 2)
            assert_int_equal(map(LOWER, how == 0 ? KIB(4) : MIB(2), GIB(1), RW), LOAM_OK);
        else if (how == 2)
            assert_int_equal(tag(LOWER, KIB(4), LOAM_ENTRY_GUARD, 0), LOAM_OK);
        else
            assert_int_equal(hold(LOWER, KIB(4), GIB(1)), LOAM_OK);
        if (how == 1)
            assert_int_equal(protect(LOWER, KIB(4), RO), LOAM_OK);
        gone_before = space.gone;
        out_before = stock.out_count;
        machine_flush_visit(tables_are_not_back_yet);
        if (how == 0)
            assert_int_equal(unmap(LOWER, KIB(4)), LOAM_OK);
        else if (how == 1)
            assert_int_equal(protect(LOWER, KIB(4), RW), LOAM_OK);
        else if (how == 2)
            assert_int_equal(untag(LOWER, KIB(4)), LOAM_OK);
        else
            assert_int_equal(collect(LOWER, KIB(4), NULL), KIB(4));
        machine_flush_visit(NULL);
        assert_true(machine_flush_count() != 0 && stock.out_count < out_before);
        assert_int_equal(space.gone, gone_before + 1);
        world_check();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(P22_a_look_while_the_tables_become_others),
        cmocka_unit_test(P22_a_look_while_the_page_becomes_another),
        cmocka_unit_test(a_look_while_a_page_is_whole_again),
        cmocka_unit_test(a_look_while_a_page_is_split),
        cmocka_unit_test(P22_the_library_looks_again_when_tables_went),
        cmocka_unit_test(each_way_to_give_a_table_back_is_counted),
    };
    return RUN_TESTS(tests);
}
