/*
 * paging_model_test.c - random streams of operations against a model that knows
 * pages and nothing else: one word per 4 KiB page.
 *
 *   window  [ 1 GiB              )[ 1 GiB              )[ 16 MiB )
 *   edges   mostly near multiples of 1 GiB and 2 MiB, within a few pages
 */
#include "paging_world.h"

#define WINDOW       (GIB(2) + MIB(16))
#define WINDOW_PAGES (WINDOW >> 12)

/* Of each page: 0, or frame number << 8 | cache << 4 | prot, plus PAGE_MAPPED. */
#define PAGE_MAPPED (UINT64_C(1) << 63)
static uint64_t model[WINDOW_PAGES];
static uint64_t window; /* where it begins */

static uint64_t model_word(uint64_t phys, struct loam_attr a)
{
    return PAGE_MAPPED | phys >> 12 << 8 | (uint64_t)a.cache << 4 | a.prot;
}

static struct loam_attr model_attr(uint64_t word)
{
    return attr(word & 0xf, (enum loam_cache)(word >> 4 & 0xf));
}

static uint64_t model_phys(uint64_t word)
{
    return (word & ~PAGE_MAPPED) >> 8 << 12;
}

/* What the CPU can do of the attributes asked for. */
static struct loam_attr effective(struct loam_attr a)
{
    if (!space.features.pat && a.cache > LOAM_CACHE_UC)
        a.cache = LOAM_CACHE_UC_MINUS;
    if (!space.features.nx)
        a.prot |= LOAM_PROT_EXEC;
    return a;
}

/* ---- random requests ----------------------------------------------------- */

/* A page number in the window: near an edge of large pages more often than not. */
static uint64_t random_edge(void)
{
    static const uint64_t strides[] = { GIB(1) >> 12, MIB(2) >> 12, MIB(2) >> 12, 1 };
    const uint64_t stride = strides[test_random_below(4)];
    uint64_t page = test_random_below(WINDOW_PAGES / stride + 2) * stride;
    page -= (window >> 12) & (stride - 1); /* the edges are those of virtual addresses */
    if (test_random_below(2) == 0)
        page += test_random_below(5) - 2;
    return page <= WINDOW_PAGES ? page : 0;
}

struct request {
    uint64_t first, count; /* pages */
    uint64_t phys;
    struct loam_attr attr;
};

static struct request random_request(void)
{
    static const uint64_t offsets[] = { 0, 0, GIB(1), MIB(2), KIB(4), MIB(6) + KIB(8) };
    struct request r;
    do {
        const uint64_t a = random_edge();
        const uint64_t b = test_random_below(3) == 0 ? a + 1 + test_random_below(4) : random_edge();
        r.first = a < b ? a : b;
        r.count = a < b ? b - a : a - b;
    } while (r.count == 0 || r.first + r.count > WINDOW_PAGES);
    /* Small pages for small requests only: audits take long enough. */
    r.phys = (window & (GIB(1) - 1)) + PAGES(r.first);
    r.phys += offsets[test_random_below(PAGES(r.count) > MIB(32) ? 4 : 6)];
    r.attr.cache = (enum loam_cache)(test_random_below(2) * test_random_below(LOAM_CACHES));
    r.attr.prot = (loam_prot)test_random_below(3); /* R, W, X */
    if (test_random_below(2) == 0)
        r.attr.prot |= window >> 63 != 0 ? LOAM_PROT_GLOBAL : LOAM_PROT_USER;
    return r;
}

/* ---- comparison ---------------------------------------------------------- */

/* The largest page that may hold a page of one map request. */
static uint64_t largest_page(const struct request *r, uint64_t page)
{
    const uint64_t first = window + PAGES(r->first);
    for (uint64_t size = GIB(1); size > KIB(4); size >>= 9) {
        const uint64_t start = (window + PAGES(page)) & ~(size - 1);
        if ((size != GIB(1) || space.features.gib_pages) && start >= first &&
            start - first + size <= PAGES(r->count) && ((r->phys - first) & (size - 1)) == 0)
            return size;
    }
    return KIB(4);
}

/* One page, as query tells it and as every CPU sees it. */
static void compare_page(uint64_t page)
{
    if (page >= WINDOW_PAGES)
        return;
    const uint64_t virt = window + PAGES(page);
    const uint64_t word = model[page];
    struct loam_translation seen;
    const enum loam_status st = loam_space_query(&space, loam_virt_at(virt + 123), &seen);
    if (word == 0) {
        assert_int_equal(st, LOAM_NOT_FOUND);
        for (unsigned cpu = 0; cpu < machine_cpu_count(); cpu++)
            assert_int_equal(machine_access(cpu, virt, MACHINE_READ).fault, MACHINE_NOT_PRESENT);
        return;
    }
    const struct loam_attr want = effective(model_attr(word));
    assert_int_equal(st, LOAM_OK);
    assert_int_equal(seen.phys.addr, model_phys(word) + 123);
    assert_int_equal(seen.attr.prot, want.prot);
    assert_int_equal(seen.attr.cache, want.cache);
    for (unsigned cpu = 0; cpu < machine_cpu_count(); cpu++) {
        const struct machine_access access = machine_access(cpu, virt, MACHINE_READ);
        assert_int_equal(access.fault, MACHINE_OK);
        assert_int_equal(access.phys, model_phys(word));
        assert_int_equal(access.page_size, seen.page_size);
        assert_int_equal(access.type, machine_type_of(want.cache));
        const unsigned kind = (unsigned)test_random_below(3);
        const bool denied = (kind == MACHINE_WRITE && (want.prot & LOAM_PROT_WRITE) == 0) ||
                            (kind == MACHINE_EXEC && (want.prot & LOAM_PROT_EXEC) == 0);
        assert_int_equal(machine_access(cpu, virt, kind).fault,
                         denied ? MACHINE_PROTECTION : MACHINE_OK);
        machine_access(cpu, virt, MACHINE_READ); /* leave it in the TLB */
    }
}

/* Pages around both edges of a range, and some anywhere. */
static void compare_around(const struct request *r)
{
    for (unsigned i = 0; i < 3; i++) {
        compare_page(r->first - 1 + i);
        compare_page(r->first + r->count - 1 + i);
        compare_page(r->first + test_random_below(r->count));
        compare_page(test_random_below(WINDOW_PAGES));
    }
}

/* The whole window, by the runs that next reports. */
static void compare_all(void)
{
    uint64_t page = 0;
    uint64_t from = window;
    struct loam_mapping run;
    while (loam_space_next(&space, loam_virt_at(from), &run) == LOAM_OK) {
        const uint64_t first = (run.virt.start.addr - window) >> 12;
        const uint64_t end = first + (run.virt.size >> 12);
        assert_true(first >= page && end <= WINDOW_PAGES);
        for (; page < first; page++)
            assert_int_equal(model[page], 0);
        for (; page < end; page++) {
            const struct loam_attr want = effective(model_attr(model[page]));
            if (model_phys(model[page]) != run.phys.addr + PAGES(page - first) ||
                want.prot != run.attr.prot || want.cache != run.attr.cache)
                fail_msg("page %#llx of the window differs", (unsigned long long)page);
        }
        from = run.virt.start.addr + run.virt.size;
        if (from == 0) /* the end of the address space */
            break;
    }
    for (; page < WINDOW_PAGES; page++)
        assert_int_equal(model[page], 0);
}

/* ---- steps --------------------------------------------------------------- */

/* Are pages of the range mapped: all, some, none? */
static void model_count(const struct request *r, bool *any, bool *all)
{
    *any = false;
    *all = true;
    for (uint64_t i = r->first; i < r->first + r->count; i++) {
        *any = *any || model[i] != 0;
        *all = *all && model[i] != 0;
    }
}

enum operation { MAP, UNMAP, PROTECT };

static enum loam_status apply(enum operation op, const struct request *r)
{
    const uint64_t virt = window + PAGES(r->first);
    switch (op) {
    case MAP:
        return map(virt, PAGES(r->count), r->phys, r->attr);
    case UNMAP:
        return unmap(virt, PAGES(r->count));
    default:
        return protect(virt, PAGES(r->count), r->attr);
    }
}

static void model_apply(enum operation op, const struct request *r)
{
    for (uint64_t i = 0; i < r->count; i++) {
        uint64_t *const word = &model[r->first + i];
        if (op == MAP)
            *word = model_word(r->phys + PAGES(i), r->attr);
        else if (op == UNMAP)
            *word = 0;
        else
            *word = model_word(model_phys(*word), r->attr);
    }
}

/* Make a request one that can be met: up to where mapped and not mapped meet. */
static enum operation make_feasible(struct request *r)
{
    const bool mapped = model[r->first] != 0;
    uint64_t count = 1;
    while (count < r->count && (model[r->first + count] != 0) == mapped)
        count++;
    r->count = count;
    return !mapped ? MAP : test_random_below(2) == 0 ? UNMAP : PROTECT;
}

/* @return was it done? */
static bool step(void)
{
    struct request r = random_request();
    const enum operation op =
        test_random_below(4) == 0 ? (enum operation)test_random_below(3) : make_feasible(&r);
    bool any;
    bool all;
    model_count(&r, &any, &all);
    compare_around(&r); /* now it is in the TLBs */
    const uint64_t before = world_digest();
    const enum loam_status st = apply(op, &r);
    if (op == MAP && any) {
        assert_int_equal(st, LOAM_OVERLAP);
    } else if (op != MAP && !all) {
        assert_int_equal(st, LOAM_NOT_FOUND);
    } else if (st != LOAM_OK) {
        assert_int_equal(st, LOAM_NO_MEMORY);
    } else {
        model_apply(op, &r);
        if (op == MAP) {
            const uint64_t page = r.first + test_random_below(r.count);
            assert_int_equal(page_size_at(window + PAGES(page)), largest_page(&r, page));
        }
    }
    if (st != LOAM_OK)
        assert_int_equal(world_digest(), before);
    compare_around(&r);
    world_check();
    return st == LOAM_OK;
}

/* Remove what is there, run by run: everything must come back. */
static void clear_window(void)
{
    struct loam_mapping run;
    while (loam_space_next(&space, loam_virt_at(window), &run) == LOAM_OK)
        assert_int_equal(loam_space_unmap(&space, run.virt), LOAM_OK);
    memset(model, 0, sizeof(model));
    assert_int_equal(space.table_count, 1);
    assert_int_equal(stock.frame_count, world_frames - 1);
    world_check();
}

/* At least @p done_min of the steps must not be refusals. */
static void random_stream(struct world_options options, uint64_t start, unsigned steps,
                          unsigned done_min)
{
    world_start(options);
    window = start;
    memset(model, 0, sizeof(model));
    unsigned done = 0;
    for (unsigned i = 0; i < steps; i++) {
        done += step() ? 1 : 0;
        if (i % 50 == 49)
            compare_all();
        if (i % 100 == 99)
            clear_window();
    }
    clear_window();
    assert_in_range(done, done_min, steps);
}

static void higher_half(void **state)
{
    (void)state;
    random_stream((struct world_options){ .cpus = 3, .frames = 512 }, HIGHER, 600, 300);
}

static void lower_half(void **state)
{
    (void)state;
    random_stream((struct world_options){ .frames = 512 }, LOWER, 400, 200);
}

/* The window ends where the address space does. */
static void end_of_the_address_space(void **state)
{
    (void)state;
    random_stream((struct world_options){ .frames = 512 }, 0 - WINDOW, 200, 100);
}

static void five_levels(void **state)
{
    (void)state;
    random_stream((struct world_options){ .levels = 5, .frames = 512 },
                  UINT64_C(0xff12345640000000), 200, 100);
}

static void no_gib_pages_no_nx_no_pat_36_bits(void **state)
{
    (void)state;
    random_stream((struct world_options){ .no_gib_pages = true,
                                          .no_nx = true,
                                          .no_pat = true,
                                          .no_global_pages = true,
                                          .phys_bits = 36,
                                          .frames = 512 },
                  HIGHER, 200, 80);
}

/* Tables run out all the time. */
static void scarce_tables(void **state)
{
    (void)state;
    for (uint64_t frames = 4; frames <= 12; frames += 4)
        random_stream((struct world_options){ .frames = frames }, HIGHER + GIB(511), 150, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(higher_half),
        cmocka_unit_test(lower_half),
        cmocka_unit_test(end_of_the_address_space),
        cmocka_unit_test(five_levels),
        cmocka_unit_test(no_gib_pages_no_nx_no_pat_36_bits),
        cmocka_unit_test(scarce_tables),
    };
    return RUN_TESTS(tests);
}
