/*
 * paging_fuzz.c - any sequence of all operations of paging, against the cells of
 * tests/paging_cells.h, and ranges of any two numbers, which all refuse.
 */
#include "fuzz.h"

#include "paging_cells.h"

static struct fuzz_input input;

static uint64_t cells_choose(uint64_t bound)
{
    if (bound <= 1)
        return 0;
    return fuzz_take(&input, bound <= 256 ? 1 : bound <= 65536 ? 2 : 8) % bound;
}

/* May a call be asked for the range? */
static bool range_is_valid(uint64_t start, uint64_t size)
{
    const unsigned top = 9 * cells.space.features.levels + 11; /* bit that others copy */
    const uint64_t last = start + size - 1;
    const uint64_t lower_end = UINT64_C(1) << top;

    if (start % LOAM_PAGE_SIZE != 0 || size % LOAM_PAGE_SIZE != 0 || size == 0 || last < start)
        return false;
    return last < lower_end || start >= 0 - lower_end;
}

/* Any two numbers as a range: most are refused, by all. */
static void step_wildly(void)
{
    static const loam_phys frame = { 0 };
    const uint64_t kind = fuzz_take(&input, 1);
    const uint64_t mask = kind % 4 == 0 ? UINT64_MAX : ~(LOAM_PAGE_SIZE - 1);
    struct request r = { .virt = fuzz_take(&input, 8) & mask,
                         .size = fuzz_take(&input, kind % 2 == 0 ? 8 : 3) & mask,
                         .kind = LOAM_ENTRY_TAG,
                         .frame = &frame };
    const uint64_t digest = cells_digest();

    if (range_is_valid(r.virt, r.size))
        return;
    r.frames = (size_t)(r.size / LOAM_PAGE_SIZE);
    for (r.verb = DO_MAP; r.verb <= DO_UNMAP_ANY; r.verb++) {
        if (r.verb == DO_MAP_FRAMES || r.verb == DO_HOLD)
            continue; /* their ranges are made of a start and a count */
        CELLS_CHECK(call(&r) == LOAM_INVALID);
    }
    CELLS_CHECK(cells_digest() == digest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input = (struct fuzz_input){ data, size };
    const unsigned machine = (unsigned)cells_choose(32);
    const struct cells_options options = {
        .levels = machine % 2 == 0 ? 4 : 5,
        .frames = machine / 2 % 2 == 0 ? 192 : 24,
        .no_nx = machine / 4 % 2 != 0,
        .no_pat = machine / 8 % 2 != 0,
        .no_gib_pages = machine / 16 != 0,
    };

    cells_begin(options);
    while (input.left > 0) {
        if (*input.data == 0xff)
            step_wildly();
        else
            cells_step();
        compare_all(&cells.space, cells.window);
    }
    cells_end();
    return 0;
}
