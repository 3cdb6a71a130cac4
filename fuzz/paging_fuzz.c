/*
 * paging_fuzz.c - any sequence of map, unmap and protect, against an array with
 * one entry per cell of three windows:
 *
 *     low    4 KiB cells around 1 GiB, where all levels of tables change
 *     top    4 KiB cells up to 2^64
 *     huge   256 MiB cells: 1 GiB pages that are cut
 *
 * After every call all mappings are walked and compared; the simulated processor
 * must see the same through its tables, and through what it remembered.
 */
#include "fuzz.h"

#include <loam/paging.h>

#include "machine.h"

#define STOCK_AT    UINT64_C(0x100000)
#define STOCK_PAGES 192u

#define CELLS_MAX 2048u

enum { MAP, UNMAP, PROTECT };

struct cell {
    bool mapped;
    uint64_t phys;
    struct loam_attr attr;
};

struct window {
    uint64_t start, cell_bytes;
    unsigned cells;
    struct cell cell[CELLS_MAX];
};

struct world {
    struct loam_stock stock;
    struct loam_space space;
    struct window window[3];
};

static uint64_t addr_of(const struct window *window, unsigned cell)
{
    return window->start + cell * window->cell_bytes;
}

/* ---- comparing ----------------------------------------------------------- */

static bool same_attr(struct loam_attr a, struct loam_attr b)
{
    return a.prot == b.prot && a.cache == b.cache;
}

/* The processor's view of an address that the model maps, or not. */
static void compare_hardware(const struct cell *cell, uint64_t virt, uint64_t offset)
{
    const struct machine_access fresh = machine_probe(0, virt, MACHINE_READ);
    FUZZ_CHECK((fresh.fault == MACHINE_OK) == cell->mapped);
    if (!cell->mapped) {
        FUZZ_CHECK(machine_access(0, virt, MACHINE_READ).fault == MACHINE_NOT_PRESENT);
        return;
    }
    FUZZ_CHECK(fresh.phys == cell->phys + offset);
    const bool may_write = (cell->attr.prot & LOAM_PROT_WRITE) != 0;
    const bool may_run = (cell->attr.prot & LOAM_PROT_EXEC) != 0;
    const bool is_user = (cell->attr.prot & LOAM_PROT_USER) != 0;
    FUZZ_CHECK((machine_probe(0, virt, MACHINE_WRITE).fault == MACHINE_OK) == may_write);
    FUZZ_CHECK((machine_probe(0, virt, MACHINE_EXEC).fault == MACHINE_OK) == may_run);
    FUZZ_CHECK((machine_probe(0, virt, MACHINE_USER).fault == MACHINE_OK) == is_user);
    const struct machine_access cached = machine_access(0, virt, MACHINE_READ);
    FUZZ_CHECK(cached.fault == MACHINE_OK && cached.phys == fresh.phys);
    FUZZ_CHECK(cached.type == fresh.type);
    FUZZ_CHECK((machine_access(0, virt, MACHINE_WRITE).fault == MACHINE_OK) == may_write);
}

static uint64_t compare_run(const struct window *window, const struct loam_mapping *run)
{
    const uint64_t first = (run->virt.start.addr - window->start) / window->cell_bytes;
    const uint64_t cells = run->virt.size / window->cell_bytes;
    FUZZ_CHECK(addr_of(window, (unsigned)first) == run->virt.start.addr);
    FUZZ_CHECK(cells * window->cell_bytes == run->virt.size && first + cells <= window->cells);
    FUZZ_CHECK(run->virt.start.addr % run->page_size == 0 && run->phys.addr % run->page_size == 0);
    for (uint64_t i = 0; i < cells; i++) {
        const struct cell *cell = &window->cell[first + i];
        FUZZ_CHECK(cell->mapped && same_attr(cell->attr, run->attr));
        FUZZ_CHECK(cell->phys == run->phys.addr + i * window->cell_bytes);
    }
    return cells;
}

/* Every mapping is in the model, and as many cells are mapped as in the model. */
static void compare_all(struct world *world)
{
    struct loam_mapping run;
    uint64_t mapped = 0;
    loam_virt at = loam_virt_at(0);
    while (loam_space_next(&world->space, at, &run) == LOAM_OK) {
        for (unsigned i = 0; i < 3; i++) {
            const struct window *window = &world->window[i];
            if (run.virt.start.addr - window->start < window->cells * window->cell_bytes)
                mapped += compare_run(window, &run);
        }
        at.addr = run.virt.start.addr + run.virt.size;
        if (at.addr == 0)
            break;
    }
    uint64_t expected = 0;
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned cell = 0; cell < world->window[i].cells; cell++)
            expected += world->window[i].cell[cell].mapped;
    }
    FUZZ_CHECK(mapped == expected);
}

/* A cell and its neighbours, first and last byte. */
static void compare_near(const struct window *window, unsigned cell)
{
    for (unsigned i = cell == 0 ? 0 : cell - 1; i <= cell + 1 && i < window->cells; i++) {
        const uint64_t last = window->cell_bytes - 1;
        compare_hardware(&window->cell[i], addr_of(window, i), 0);
        compare_hardware(&window->cell[i], addr_of(window, i) + last, last);
    }
}

/* ---- doing --------------------------------------------------------------- */

static struct loam_attr take_attr(struct fuzz_input *input)
{
    const uint64_t bits = fuzz_take(input, 1);
    const struct loam_attr attr = { (loam_prot)(bits % 32), (enum loam_cache)(bits / 32) };
    return attr;
}

static bool attr_is_valid(uint64_t virt, struct loam_attr attr)
{
    const bool higher = virt >> 63 != 0;
    return attr.prot < 16 && attr.cache < LOAM_CACHES && (attr.prot & 3) != 3 &&
           (attr.prot & (higher ? LOAM_PROT_USER : LOAM_PROT_GLOBAL)) == 0;
}

static unsigned count_mapped(const struct window *window, unsigned start, unsigned end)
{
    unsigned count = 0;
    for (unsigned cell = start; cell < end; cell++)
        count += window->cell[cell].mapped;
    return count;
}

/* Status that the contract demands, as long as there are tables. */
static enum loam_status expected_status(const struct window *window, unsigned what, unsigned start,
                                        unsigned end, struct loam_attr attr)
{
    const unsigned mapped = count_mapped(window, start, end);
    if (what != UNMAP && !attr_is_valid(window->start, attr))
        return LOAM_INVALID;
    if (what == MAP)
        return mapped == 0 ? LOAM_OK : LOAM_OVERLAP;
    return mapped == end - start ? LOAM_OK : LOAM_NOT_FOUND;
}

static void apply(struct window *window, unsigned what, unsigned start, unsigned end, uint64_t phys,
                  struct loam_attr attr)
{
    for (unsigned i = start; i < end; i++) {
        struct cell *cell = &window->cell[i];
        if (what == MAP)
            cell->phys = phys + (i - start) * window->cell_bytes;
        if (what != UNMAP)
            cell->attr = attr;
        cell->mapped = what != UNMAP;
    }
}

/* Backing for a range that starts at @p virt: aligned as it is, so that large
 * pages fit, or by pages only. */
static uint64_t take_phys(struct fuzz_input *input, uint64_t virt)
{
    const uint64_t place = fuzz_take(input, 1);
    const uint64_t odd =
        place < 128 ? virt % (UINT64_C(1) << 30) : fuzz_take(input, 1) * LOAM_PAGE_SIZE;
    return (place % 16 << 30) + odd;
}

static enum loam_status call(struct loam_space *space, unsigned what, struct loam_virt_range virt,
                             uint64_t phys, struct loam_attr attr)
{
    if (what == MAP)
        return loam_space_map(space, virt, loam_phys_at(phys), attr);
    return what == UNMAP ? loam_space_unmap(space, virt) : loam_space_protect(space, virt, attr);
}

static void step(struct fuzz_input *input, struct world *world)
{
    const unsigned choice = (unsigned)fuzz_take(input, 1);
    const unsigned what = choice % 4 == 3 ? MAP : choice % 4;
    struct window *window = &world->window[choice / 4 % 3];
    const unsigned start = (unsigned)fuzz_take(input, 2) % window->cells;
    const unsigned wanted = (unsigned)fuzz_take(input, choice >= 128 ? 2 : 1) % 512;
    const unsigned end = start + 1 + wanted % (window->cells - start);
    const struct loam_attr attr = take_attr(input);
    const struct loam_virt_range virt = loam_virt_range_of(loam_virt_at(addr_of(window, start)),
                                                           (end - start) * window->cell_bytes);
    const uint64_t phys = take_phys(input, virt.start.addr);
    const enum loam_status expected = expected_status(window, what, start, end, attr);
    const uint64_t digest = loam_space_digest(&world->space);
    const uint64_t stock_digest = loam_stock_digest(&world->stock);

    /* The processor remembers what is about to change. */
    compare_near(window, start);
    compare_near(window, (start + end) / 2);
    compare_near(window, end - 1);
    const enum loam_status st = call(&world->space, what, virt, phys, attr);
    FUZZ_CHECK(st == expected || (st == LOAM_NO_MEMORY && expected == LOAM_OK));
    if (st == LOAM_OK) {
        apply(window, what, start, end, phys, attr);
    } else {
        FUZZ_CHECK(loam_space_digest(&world->space) == digest);
        FUZZ_CHECK(loam_stock_digest(&world->stock) == stock_digest);
    }
    compare_near(window, start);
    compare_near(window, (start + end) / 2);
    compare_near(window, end - 1);
}

/* May a call be asked for the range? */
static bool range_is_valid(const struct world *world, uint64_t start, uint64_t size)
{
    const unsigned top = 9 * world->space.features.levels + 11; /* bit that others copy */
    const uint64_t last = start + size - 1;
    const uint64_t lower_end = UINT64_C(1) << top;
    if (start % LOAM_PAGE_SIZE != 0 || size % LOAM_PAGE_SIZE != 0 || size == 0 || last < start)
        return false;
    return last < lower_end || start >= 0 - lower_end;
}

/* Any two numbers as a range: most are refused, by all. */
static void step_wildly(struct fuzz_input *input, struct world *world)
{
    const uint64_t kind = fuzz_take(input, 1);
    const uint64_t mask = kind % 4 == 0 ? UINT64_MAX : ~(LOAM_PAGE_SIZE - 1);
    const uint64_t start = fuzz_take(input, 8) & mask;
    const uint64_t size = fuzz_take(input, kind % 2 == 0 ? 8 : 3) & mask;
    const struct loam_virt_range virt = loam_virt_range_of(loam_virt_at(start), size);
    const struct loam_attr attr = { LOAM_PROT_READ, LOAM_CACHE_WB };
    const uint64_t digest = loam_space_digest(&world->space);
    if (range_is_valid(world, start, size))
        return;
    for (unsigned what = MAP; what <= PROTECT; what++)
        FUZZ_CHECK(call(&world->space, what, virt, 0, attr) == LOAM_INVALID);
    FUZZ_CHECK(loam_space_digest(&world->space) == digest);
}

static void begin(struct world *world, unsigned levels)
{
    memset(world, 0, sizeof *world);
    machine_reset(1);
    machine_cpu(0)->smep = machine_cpu(0)->smap = false; /* rights are those of the tables alone */
    machine_set_levels(levels);
    machine_add_ram(STOCK_AT, STOCK_PAGES * LOAM_PAGE_SIZE);
    loam_stock_init(&world->stock, machine_hhdm(), NULL);
    loam_stock_add(&world->stock,
                   loam_phys_range_of(loam_phys_at(STOCK_AT), STOCK_PAGES * LOAM_PAGE_SIZE));
    const struct loam_cpu_features features = loam_cpu_identify();
    FUZZ_CHECK(loam_space_init(&world->space, &world->stock, &features) == LOAM_OK);
    FUZZ_CHECK(loam_cpu_enter(&features, world->space.root) == LOAM_OK);

    struct window *const window = world->window;
    window[0].start = UINT64_C(0x3fc00000);
    window[0].cells = CELLS_MAX;
    window[0].cell_bytes = LOAM_PAGE_SIZE;
    window[1].start = 0 - CELLS_MAX * LOAM_PAGE_SIZE;
    window[1].cells = CELLS_MAX;
    window[1].cell_bytes = LOAM_PAGE_SIZE;
    window[2].start = UINT64_C(0xffff900000000000);
    window[2].cells = 32;
    window[2].cell_bytes = UINT64_C(1) << 28;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct fuzz_input input = { data, size };
    begin(&world, fuzz_take(&input, 1) % 2 == 0 ? 4 : 5);
    while (input.left > 0) {
        if (*input.data == 0xff)
            step_wildly(&input, &world);
        else
            step(&input, &world);
        fuzz_check_sound(loam_space_audit(&world.space));
        fuzz_check_sound(loam_stock_audit(&world.stock));
        FUZZ_CHECK(world.stock.out_count == world.space.table_count);
        compare_all(&world);
    }
    return 0;
}
