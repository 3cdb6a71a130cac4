/*
 * paging_cells_do.h - see paging_cells.h, which includes it: what must come of a
 * request, and a step.
 */
#ifndef LOAM_TESTS_PAGING_CELLS_DO_H
#define LOAM_TESTS_PAGING_CELLS_DO_H

/* ---- what must come of it ------------------------------------------------- */

static bool cells_are(const struct request *r, unsigned kinds)
{
    for (unsigned i = r->start; i < r->end; i++) {
        if ((kinds >> r->window->cell[i].kind & 1) == 0)
            return false;
    }
    return true;
}

static bool phys_is_valid(uint64_t phys, uint64_t size)
{
    const uint64_t limit = UINT64_C(1) << cells.space.features.phys_bits;
    return phys % LOAM_PAGE_SIZE == 0 && phys < limit && size <= limit - phys;
}

static bool request_is_valid(const struct request *r)
{
    const bool attr = attr_is_valid(r->window->is_lower, r->attr);

    switch (r->verb) {
    case DO_MAP:
    case DO_REPLACE:
    case DO_SWAP_IN:
        return attr && phys_is_valid(r->phys, r->size);
    case DO_MAP_FRAMES:
    case DO_HOLD:
        if (r->frame == NULL)
            return phys_is_valid(r->phys, r->size);
        for (size_t i = 0; i < r->frames; i++) {
            if (!phys_is_valid(r->frame[i].addr, LOAM_PAGE_SIZE))
                return false;
        }
        return r->verb == DO_HOLD || attr;
    case DO_PROTECT:
    case DO_PUBLISH:
        return attr;
    case DO_SOFT:
        return r->soft < 8;
    default:
        return true;
    }
}

/* As long as there are tables. */
static enum loam_status expected_status(const struct request *r)
{
    if (!request_is_valid(r))
        return LOAM_INVALID;
    switch (r->verb) {
    case DO_MAP:
    case DO_MAP_FRAMES:
    case DO_HOLD:
    case DO_TAG:
        return cells_are(r, 1u << LOAM_ENTRY_EMPTY) ? LOAM_OK : LOAM_OVERLAP;
    case DO_PUBLISH:
        return cells_are(r, 1u << LOAM_ENTRY_HELD) ? LOAM_OK : LOAM_NOT_FOUND;
    case DO_UNTAG:
        return cells_are(r, 1u << LOAM_ENTRY_GUARD | 1u << LOAM_ENTRY_TAG) ? LOAM_OK
                                                                           : LOAM_NOT_FOUND;
    case DO_COLLECT:
    case DO_UNMAP_ANY:
        return LOAM_OK;
    case DO_SWAP_IN:
        return cells_are(r, 1u << LOAM_ENTRY_TAG) && r->window->cell[r->start].value == r->value
                   ? LOAM_OK
                   : LOAM_NOT_FOUND;
    default:
        return cells_are(r, 1u << LOAM_ENTRY_PAGE) ? LOAM_OK : LOAM_NOT_FOUND;
    }
}

/* With so many tables in the stock there is no lack of memory. */
static uint64_t tables_at_most(const struct request *r)
{
    const uint64_t last = r->virt + (r->size - 1);
    uint64_t count = 0;

    if (r->verb > DO_TAG)
        return 4;
    for (unsigned shift = 21; shift < 12 + 9 * cells.space.features.levels; shift += 9)
        count += (last >> shift) - (r->virt >> shift) + 1;
    return count;
}

static uint64_t placed_at(const struct request *r, unsigned i)
{
    const uint64_t done = i * r->window->cell_bytes;
    return r->frame != NULL ? r->frame[done / LOAM_PAGE_SIZE].addr : r->phys + done;
}

static void become(struct cell *cell, enum loam_entry_kind kind, uint64_t value)
{
    const bool pending = cell->pending;

    memset(cell, 0, sizeof *cell);
    cell->kind = kind;
    cell->value = value;
    cell->pending = pending;
}

static void clear_cell(struct cell *cell, const struct request *r)
{
    CELLS_CHECK(!cell->touched || (r->bits & LOAM_PAGE_ACCESSED) == 0 ||
                (r->seen & LOAM_PAGE_ACCESSED) != 0);
    CELLS_CHECK(!cell->written || (r->bits & LOAM_PAGE_DIRTY) == 0 ||
                (r->seen & LOAM_PAGE_DIRTY) != 0);
    cell->touched = cell->touched && (r->bits & LOAM_PAGE_ACCESSED) == 0;
    cell->written = cell->written && (r->bits & LOAM_PAGE_DIRTY) == 0;
}

/* What was there before the tag. */
static void check_swapped(const struct cell *cell, const struct request *r)
{
    const struct loam_translation *const was = &r->was;

    CELLS_CHECK(was->phys.addr == cell->value && was->page_size == LOAM_PAGE_SIZE);
    CELLS_CHECK(cells_same_attr(was->attr, cells_effective(cell->attr)));
    CELLS_CHECK(was->is_cow == cell->cow && was->soft == cell->soft);
    CELLS_CHECK(!cell->touched || (was->bits & LOAM_PAGE_ACCESSED) != 0);
    CELLS_CHECK(!cell->written || (was->bits & LOAM_PAGE_DIRTY) != 0);
}

static void apply_to_cell(struct cell *cell, const struct request *r, unsigned i)
{
    switch (r->verb) {
    case DO_REPLACE: {
        const struct cell before = *cell;
        become(cell, LOAM_ENTRY_PAGE, placed_at(r, i));
        cell->attr = r->attr;
        cell->soft = before.soft;
        cell->written = before.written;
        break;
    }
    case DO_SWAP_OUT:
        check_swapped(cell, r);
        become(cell, LOAM_ENTRY_TAG, r->value);
        break;
    case DO_UNMAP_ANY:
        if (cell->kind != LOAM_ENTRY_PAGE)
            return;
        become(cell, LOAM_ENTRY_EMPTY, 0);
        break;
    case DO_SWAP_IN:
    case DO_MAP:
    case DO_MAP_FRAMES:
        become(cell, LOAM_ENTRY_PAGE, placed_at(r, i));
        cell->attr = r->attr;
        break;
    case DO_HOLD:
        become(cell, LOAM_ENTRY_HELD, placed_at(r, i));
        break;
    case DO_TAG:
        become(cell, r->kind, r->value);
        break;
    case DO_UNMAP:
    case DO_UNTAG:
    case DO_COLLECT:
        become(cell, LOAM_ENTRY_EMPTY, 0);
        break;
    case DO_DETACH:
        become(cell, LOAM_ENTRY_HELD, cell->value);
        break;
    case DO_PUBLISH:
        become(cell, LOAM_ENTRY_PAGE, cell->value);
        cell->attr = r->attr;
        break;
    case DO_PROTECT:
        cell->attr = r->attr;
        break;
    case DO_SOFT:
        cell->soft = r->soft;
        return;
    default: /* DO_CLEAR */
        clear_cell(cell, r);
        break;
    }
    cell->pending = cell->pending || r->batched;
}

/* ---- doing ---------------------------------------------------------------- */

static enum loam_status call_batch(struct loam_space_batch *batch, struct request *r)
{
    const struct loam_virt_range virt = loam_virt_range_of(loam_virt_at(r->virt), r->size);

    switch (r->verb) {
    case DO_UNMAP:
        return loam_space_batch_unmap(batch, virt);
    case DO_DETACH:
        return loam_space_batch_detach(batch, virt);
    case DO_PROTECT:
        return loam_space_batch_protect(batch, virt, r->attr);
    case DO_CLEAR:
        return loam_space_batch_clear(batch, virt, r->bits, &r->seen);
    case DO_UNMAP_ANY:
        return loam_space_batch_unmap_any(batch, virt);
    case DO_SWAP_OUT:
        return loam_space_batch_swap_out(batch, virt.start, r->value, &r->was);
    default: /* DO_REPLACE */
        return loam_space_batch_replace(batch, virt.start, loam_phys_at(r->phys), r->attr);
    }
}

static enum loam_status call_alone(struct request *r)
{
    const struct loam_virt_range virt = loam_virt_range_of(loam_virt_at(r->virt), r->size);

    switch (r->verb) {
    case DO_MAP:
        return loam_space_map(&cells.space, virt, loam_phys_at(r->phys), r->attr);
    case DO_MAP_FRAMES:
        return loam_space_map_frames(&cells.space, virt.start, r->frame, r->frames, r->attr);
    case DO_HOLD:
        if (r->frame == NULL)
            return loam_space_hold_range(&cells.space, virt, loam_phys_at(r->phys));
        return loam_space_hold(&cells.space, virt.start, r->frame, r->frames);
    case DO_TAG:
        return loam_space_tag(&cells.space, virt, r->kind, r->value);
    case DO_UNTAG:
        return loam_space_untag(&cells.space, virt);
    case DO_PUBLISH:
        return loam_space_publish(&cells.space, virt, r->attr);
    case DO_SOFT:
        return loam_space_set_soft(&cells.space, virt, r->soft);
    case DO_SWAP_IN:
        return loam_space_swap_in(&cells.space, virt.start, r->value, loam_phys_at(r->phys),
                                  r->attr);
    case DO_UNMAP:
        return loam_space_unmap(&cells.space, virt);
    default: /* DO_PROTECT */
        return loam_space_protect(&cells.space, virt, r->attr);
    }
}

/* All that is held comes out, in order. */
static enum loam_status collect(const struct request *r)
{
    struct loam_virt_range rest = loam_virt_range_of(loam_virt_at(r->virt), r->size);
    struct loam_phys_range out[4];
    unsigned at = r->start;
    size_t count;

    LOAM_SPACE_BATCH(batch, &cells.space);
    while ((count = loam_space_batch_collect(&batch, &rest, out, 1 + cells_choose(4))) != 0) {
        for (size_t i = 0; i < count; i++) {
            for (uint64_t done = 0; done < out[i].size; done += r->window->cell_bytes, at++) {
                while (at < r->end && r->window->cell[at].kind == LOAM_ENTRY_EMPTY)
                    at++;
                CELLS_CHECK(at < r->end && r->window->cell[at].value == out[i].start.addr + done);
            }
        }
    }
    CELLS_CHECK(rest.size == 0);
    for (; at < r->end; at++)
        CELLS_CHECK(r->window->cell[at].kind == LOAM_ENTRY_EMPTY);
    loam_space_batch_finish(&batch);
    return LOAM_OK;
}

/* What was cleared is clear, until a CPU comes by or a batch ends. */
static void check_cleared(const struct request *r)
{
    struct loam_translation seen;

    for (unsigned i = r->start; i < r->end; i += 1 + (r->end - r->start) / 8) {
        const loam_virt at = loam_virt_at(cell_at(r->window, i));
        CELLS_CHECK(loam_space_query(&cells.space, at, &seen) == LOAM_OK);
        CELLS_CHECK((seen.bits & r->bits) == 0);
    }
}

static enum loam_status call(struct request *r)
{
    enum loam_status st;

    if (r->verb == DO_COLLECT)
        return collect(r);
    const bool by_batch = (r->verb >= DO_UNMAP && r->verb <= DO_DETACH) || r->verb == DO_PROTECT ||
                          r->verb == DO_CLEAR ||
                          (r->verb >= DO_UNMAP_ANY && r->verb <= DO_SWAP_OUT);
    r->batched = r->batched && by_batch;
    if (r->batched) {
        st = call_batch(&cells.batch, r);
    } else if (by_batch && (r->verb != DO_UNMAP || cells_choose(2) == 0)) {
        LOAM_SPACE_BATCH(batch, &cells.space);
        st = call_batch(&batch, r);
        loam_space_batch_finish(&batch);
    } else {
        st = call_alone(r);
    }
    if (st == LOAM_OK && r->verb == DO_CLEAR)
        check_cleared(r);
    return st;
}

static void compare_request(const struct request *r)
{
    compare_near(r->window, r->start);
    compare_near(r->window, (r->start + r->end) / 2);
    compare_near(r->window, r->end - 1);
}

/* How it came to what broke: PAGING_TRACE=1. */
static void trace(const struct request *r)
{
    (void)fprintf(stderr,
                  "# step %lu: verb %d at %#" PRIx64 " size %#" PRIx64 " phys %#" PRIx64
                  " prot %x bits %x soft %u kind %d%s\n",
                  cells.step, (int)r->verb, r->virt, r->size, r->phys, r->attr.prot, r->bits,
                  r->soft, (int)r->kind, r->batched ? " batched" : "");
}

static void step_request(void)
{
    struct request r = choose_request();
    const bool fails = cells_choose(16) == 0;

    if (!may_ask(&r))
        return;
    if (cells.is_traced)
        trace(&r);
    compare_request(&r); /* CPUs remember what is about to change */
    const enum loam_status expected = expected_status(&r);
    const bool audited = cells.step % cells.audit_every == 0;
    const uint64_t digest = audited ? cells_digest() : 0;
    const uint64_t have = cells.stock.frame_count;
    if (fails)
        inject_fail_at(1, false);
    const enum loam_status st = call(&r);
    const bool injected = fails && inject_fired();
    inject_pause();
    if (st == LOAM_OK) {
        CELLS_CHECK(expected == LOAM_OK && !injected);
        for (unsigned i = r.start; i < r.end; i++)
            apply_to_cell(&r.window->cell[i], &r, i - r.start);
        cells.done++;
    } else {
        CELLS_CHECK(st == expected || (st == LOAM_NO_MEMORY && expected == LOAM_OK));
        CELLS_CHECK(st != LOAM_NO_MEMORY || injected || have < tables_at_most(&r));
        CELLS_CHECK(!audited || cells_digest() == digest);
        cells.refused += st != LOAM_NO_MEMORY;
        cells.without_memory += st == LOAM_NO_MEMORY;
    }
    compare_request(&r);
}

/* ---- batches and children ------------------------------------------------ */

static void finish_batch(void)
{
    loam_space_batch_finish(&cells.batch);
    cells.batch_steps = 0;
    for (unsigned w = 0; w < WINDOWS; w++) {
        for (unsigned i = 0; i < cells.window[w].cells; i++)
            cells.window[w].cell[i].pending = false;
    }
}

static void step_batch(void)
{
    if (cells.batch_steps == 0 && cells_choose(8) == 0) {
        loam_space_batch_begin(&cells.batch, &cells.space);
        cells.batch_steps = 1 + (unsigned)cells_choose(24);
    } else if (cells.batch_steps != 0 && --cells.batch_steps == 0) {
        finish_batch();
    }
}

static void end_child(void)
{
    compare_all(&cells.child, cells.child_window);
    CELLS_CHECK(loam_space_destroy(&cells.child) == LOAM_OK);
    cells.has_child = false;
}

static void begin_child(void)
{
    bool held = false;

    if (loam_space_create(&cells.child, &cells.space) != LOAM_OK)
        return;
    cells.has_child = true;
    for (unsigned w = 0; w < WINDOWS; w++) {
        for (unsigned i = 0; i < cells.window[w].cells; i++)
            held = held ||
                   (cells.window[w].is_lower && cells.window[w].cell[i].kind == LOAM_ENTRY_HELD);
    }
    const uint64_t digest = cells_digest();
    const enum loam_status st = loam_space_clone(&cells.child, &cells.space);
    CELLS_CHECK(st == (held ? LOAM_STATE : LOAM_OK) || (st == LOAM_NO_MEMORY && !held));
    if (st != LOAM_OK) {
        CELLS_CHECK(cells_digest() == digest && cells.child.table_count == 1);
        CELLS_CHECK(loam_space_destroy(&cells.child) == LOAM_OK);
        cells.has_child = false;
        return;
    }
    for (unsigned w = 0; w < WINDOWS; w++) {
        for (unsigned i = 0; i < cells.window[w].cells && cells.window[w].is_lower; i++)
            cells.window[w].cell[i].cow = cells.window[w].cell[i].kind == LOAM_ENTRY_PAGE;
    }
    memcpy(cells.child_window, cells.window, sizeof cells.window);
}

/* The child's lower half stays as it was; the higher half is the space's. */
static void compare_child(void)
{
    struct window *const window = &cells.child_window[cells_choose(WINDOWS)];
    const unsigned i = (unsigned)cells_choose(window->cells);
    struct cell cell =
        window->is_lower ? window->cell[i] : cells.window[window - cells.child_window].cell[i];

    if (window->is_lower)
        cell.touched = false; /* as dirty as before */
    compare_look(&cell, &cells.child, cell_at(window, i), 0);
}

static void step_child(void)
{
    if (!cells.has_child) {
        if (cells_choose(64) == 0)
            begin_child();
    } else if (cells_choose(64) == 0) {
        for (unsigned w = 0; w < WINDOWS; w++) {
            if (!cells.window[w].is_lower)
                cells.child_window[w] = cells.window[w];
        }
        end_child();
    } else {
        compare_child();
    }
}

/* ---- the world ------------------------------------------------------------ */

static void cells_place(unsigned number, uint64_t start, unsigned count, uint64_t bytes)
{
    struct window *const window = &cells.window[number];

    window->start = start;
    window->cells = count;
    window->cell_bytes = bytes;
    window->is_lower = start >> 63 == 0;
}

static void cells_begin(struct cells_options options)
{
    memset(&cells, 0, sizeof cells);
    cells.audit_every = 1;
    cells.is_traced = getenv("PAGING_TRACE") != NULL;
    machine_reset(2);
    for (unsigned i = 0; i < 2; i++) {
        machine_cpu(i)->nx = !options.no_nx;
        machine_cpu(i)->pat = !options.no_pat;
        machine_cpu(i)->gib_pages = !options.no_gib_pages;
        machine_cpu(i)->smep = machine_cpu(i)->smap = false; /* rights are those of the tables */
    }
    machine_set_levels(options.levels);
    machine_add_ram(STOCK_AT, options.frames * LOAM_PAGE_SIZE);
    loam_stock_init(&cells.stock, machine_hhdm(), NULL);
    loam_stock_add(&cells.stock,
                   loam_phys_range_of(loam_phys_at(STOCK_AT), options.frames * LOAM_PAGE_SIZE));
    const struct loam_cpu_features features = loam_cpu_identify();
    CELLS_CHECK(loam_space_init(&cells.space, &cells.stock, &features) == LOAM_OK);
    for (unsigned i = 0; i < 2; i++) {
        machine_set_cpu(i);
        CELLS_CHECK(loam_cpu_enter(&features, cells.space.root) == LOAM_OK);
    }
    machine_set_cpu(0);
    cells_place(0, UINT64_C(0x3fc00000), CELLS_MAX, UINT64_C(1) << 12);
    cells_place(1, 0 - (UINT64_C(1) << 22), 1024, UINT64_C(1) << 12);
    cells_place(2, UINT64_C(0xffff907fc0000000), 1024, UINT64_C(1) << 21);
    cells_place(3, UINT64_C(0x0000107fc0000000), 16, UINT64_C(1) << 28);
}

static void cells_step(void)
{
    cells.step++;
    step_request();
    step_batch();
    step_child();
    if (cells.step % cells.audit_every == 0)
        compare_tables();
    if (cells.step % (64 * cells.audit_every) == 0)
        compare_all(&cells.space, cells.window);
}

/* Everything comes out again: the root alone is left. */
static void cells_end(void)
{
    struct loam_mapping run;
    struct loam_phys_range out[8];

    if (cells.batch_steps != 0)
        finish_batch();
    compare_tables();
    compare_all(&cells.space, cells.window);
    if (cells.has_child) {
        CELLS_CHECK(loam_space_destroy(&cells.child) == LOAM_OK);
        cells.has_child = false;
    }
    while (loam_space_next(&cells.space, loam_virt_at(0), &run) == LOAM_OK) {
        if (run.kind == LOAM_ENTRY_PAGE) {
            CELLS_CHECK(loam_space_unmap(&cells.space, run.virt) == LOAM_OK);
        } else if (run.kind == LOAM_ENTRY_HELD) {
            LOAM_SPACE_BATCH(batch, &cells.space);
            while (loam_space_batch_collect(&batch, &run.virt, out, 8) != 0)
                ;
            loam_space_batch_finish(&batch);
        } else {
            CELLS_CHECK(loam_space_untag(&cells.space, run.virt) == LOAM_OK);
        }
    }
    compare_tables();
    CELLS_CHECK(cells.space.table_count == 1 && cells.stock.out_count == 1);
}

#endif
