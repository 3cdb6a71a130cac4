/*
 * vmap_model_test.c - any sequence of calls of vmap against a list of what there should
 * be: every page keeps what was written to it, by whichever CPU it is read, and nobody
 * else has it.
 */
#include "vmap_world.h"

#define LIVE  24u
#define CPUS  3u
#define STEPS 3000

struct live {
    enum loam_vmap_kind kind; /* NONE: unused */
    uint64_t start, pages, serial;
    uint64_t phys; /* of a device */
    struct loam_vmap_window window;
};

static struct live lives[LIVE];
static uint64_t serials;

static uint64_t *word_at(const struct live *live, uint64_t page)
{
    const unsigned cpu = (unsigned)test_random_below(CPUS);
    return (uint64_t *)(void *)byte_at(cpu, live->start + PAGES(page) + 8 * (page % 512));
}

static void stamp(const struct live *live, uint64_t from)
{
    for (uint64_t page = from; page < live->pages; page++)
        *word_at(live, page) = live->serial << 20 | page;
}

static void expect_stamped(const struct live *live)
{
    if (live->kind == LOAM_VMAP_NONE)
        return;
    for (uint64_t page = 0; page < live->pages; page++) {
        if (live->kind != LOAM_VMAP_DEVICE) {
            assert_int_equal(*word_at(live, page), live->serial << 20 | page);
            continue;
        }
        const struct machine_access access = machine_access(
            (unsigned)test_random_below(CPUS), live->start + PAGES(page), MACHINE_WRITE);
        assert_int_equal(access.phys, live->phys + PAGES(page));
    }
    if (live->pages != 0)
        assert_int_equal(find(live->start + PAGES(live->pages) - 1).kind, live->kind);
    assert_int_equal(fault_at(0, live->start - 1, MACHINE_READ), MACHINE_NOT_PRESENT);
    assert_int_equal(fault_at(1, live->start + PAGES(live->pages), MACHINE_READ),
                     MACHINE_NOT_PRESENT);
}

static void make_memory(struct live *live)
{
    struct loam_vmap_request request =
        memory_of(PAGES(1 + test_random_below(test_random_below(8) == 0 ? 700 : 20)));
    loam_virt at;

    request.is_zeroed = test_random_below(3) == 0;
    request.guard_pages = test_random_below(3);
    request.align_bytes = test_random_below(4) == 0 ? PAGES(1u << test_random_below(10)) : 0;
    request.dice = test_random_below(4) == 0 ? test_random() : 0;
    assert_int_equal(loam_vmap_alloc(&mm, &request, &at), LOAM_OK);
    live->kind = LOAM_VMAP_MEMORY;
    live->start = at.addr;
    live->pages = request.size_bytes / LOAM_PAGE_SIZE;
    if (request.is_zeroed) {
        for (uint64_t page = 0; page < live->pages; page++)
            assert_int_equal(*word_at(live, page), 0);
    }
    stamp(live, 0);
}

static void make_stack(struct live *live)
{
    struct loam_virt_range stack;

    live->pages = UINT64_C(1) << test_random_below(5);
    assert_int_equal(loam_vmap_stack(&mm, PAGES(live->pages), "stack", &stack), LOAM_OK);
    live->kind = LOAM_VMAP_STACK;
    live->start = stack.start.addr;
    stamp(live, 0);
}

static void make_device(struct live *live)
{
    loam_virt at;

    live->phys = GIB(4) + PAGES(test_random_below(2048));
    live->pages = 1 + test_random_below(600);
    const struct loam_phys_range range = { { live->phys }, PAGES(live->pages) };
    assert_int_equal(loam_vmap_device(&mm, range, LOAM_CACHE_UC, "device", &at), LOAM_OK);
    live->kind = LOAM_VMAP_DEVICE;
    live->start = at.addr;
}

static void make_window(struct live *live)
{
    const struct loam_vmap_request request = memory_of(PAGES(1000));

    assert_int_equal(loam_vmap_window_open(&mm, &live->window, &request), LOAM_OK);
    live->kind = LOAM_VMAP_WINDOW;
    live->start = live->window.range.start.addr;
    live->pages = 0;
}

static void resize_window(struct live *live)
{
    const uint64_t was = live->pages;

    live->pages = test_random_below(test_random_below(4) == 0 ? 1000 : 30);
    assert_int_equal(loam_vmap_window_resize(&mm, &live->window, PAGES(live->pages)), LOAM_OK);
    stamp(live, was);
    if (live->pages < was)
        expect_unmapped(live->start + PAGES(live->pages), PAGES(was - live->pages));
}

static void drop(struct live *live)
{
    switch (live->kind) {
    case LOAM_VMAP_MEMORY:
        loam_vmap_free(&mm, loam_virt_at(live->start));
        break;
    case LOAM_VMAP_STACK:
        loam_vmap_stack_free(&mm, loam_virt_at(live->start));
        break;
    case LOAM_VMAP_DEVICE:
        loam_vmap_device_free(&mm, loam_virt_at(live->start + test_random_below(4096)));
        break;
    default:
        loam_vmap_window_close(&mm, &live->window);
        break;
    }
    live->kind = LOAM_VMAP_NONE;
}

static void step(void)
{
    struct live *live = &lives[test_random_below(LIVE)];

    expect_stamped(live);
    if (live->kind == LOAM_VMAP_WINDOW && test_random_below(4) != 0) {
        resize_window(live);
    } else if (live->kind != LOAM_VMAP_NONE) {
        drop(live);
    } else {
        static void (*const make[])(struct live *) = { make_memory, make_memory, make_stack,
                                                       make_device, make_window };
        live->serial = ++serials;
        make[test_random_below(5)](live);
    }
}

/* Frames of what is there, and of what waits. */
static void expect_frames(uint64_t kernel)
{
    struct loam_vrange_info info;
    loam_virt at = mm.vmap.window.start;

    for (unsigned i = 0; i < LIVE; i++)
        if (lives[i].kind != LOAM_VMAP_NONE && lives[i].kind != LOAM_VMAP_DEVICE)
            kernel += PAGES(lives[i].pages);
    while (loam_vrange_next(&mm.vmap.ranges, at, &info)) {
        if (info.state == LOAM_VRANGE_WAITING && info.tag != LOAM_VMAP_DEVICE)
            kernel += info.range.size;
        if (!loam_vrange_info_end(&info, &at))
            break;
    }
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel);
}

static void vmap_V09_keeps_every_page_apart(void **state)
{
    (void)state;
    memset(lives, 0, sizeof(lives));
    vmap_machine(CPUS);
    const uint64_t kernel = total(LOAM_OWNER_KERNEL);
    const uint64_t tables = mm.space.table_count;
    for (int round = 0; round < STEPS; round++) {
        machine_set_cpu((unsigned)test_random_below(CPUS));
        step();
        if (test_random_below(60) == 0)
            (void)loam_vmap_purge(&mm);
        if (round % 16 == 0) {
            check_sound();
            expect_frames(kernel);
        }
    }
    for (unsigned i = 0; i < LIVE; i++) {
        expect_stamped(&lives[i]);
        if (lives[i].kind != LOAM_VMAP_NONE)
            drop(&lives[i]);
    }
    (void)loam_vmap_purge(&mm);
    loam_vrange_drain(&mm.vmap.ranges);
    machine_set_cpu(0);
    assert_int_equal(total(LOAM_OWNER_KERNEL), kernel);
    assert_int_equal(mm.space.table_count, tables);
    assert_int_equal(mm.vmap.ranges.node_frame_count, 0);
    check_sound();
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(vmap_V09_keeps_every_page_apart),
    };
    return RUN_TESTS(tests);
}
