/*
 * paging_cells.h - every operation of paging, in any order, against an array with one
 * struct cell for each piece of four windows. The fuzz target and the soak share it.
 *
 *     low    4 KiB cells around 1 GiB, where all levels of tables change
 *     top    4 KiB cells up to 2^64
 *     large  2 MiB cells around a boundary of 512 GiB, higher half
 *     huge   256 MiB cells, lower half: 1 GiB pages that are cut
 *
 * Two simulated CPUs use the space. What a CPU sees must be what the model says, but
 * for cells that an open batch has changed. The includer says where choices come from.
 */
#ifndef LOAM_TESTS_PAGING_CELLS_H
#define LOAM_TESTS_PAGING_CELLS_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <loam/paging.h>

#include "harness.h"
#include "machine.h"

/* A choice below @p bound. */
static uint64_t cells_choose(uint64_t bound);

#define CELLS_MAX    2048u
#define CELLS_FRAMES 1024u
#define WINDOWS      4u
#define STOCK_AT     UINT64_C(0x2000000)

struct cell {
    enum loam_entry_kind kind;
    struct loam_attr attr;
    unsigned soft;
    uint64_t value;        /* address; of a guard or tag what it says */
    bool cow;              /* to be copied when written to */
    bool touched, written; /* its first page, by a CPU, since it was mapped or cleared */
    bool pending;          /* CPUs may see something older: a batch is open */
};

struct window {
    uint64_t start, cell_bytes;
    unsigned cells;
    bool is_lower;
    struct cell cell[CELLS_MAX];
};

/* Which machine. */
struct cells_options {
    unsigned levels, frames;
    bool no_nx, no_pat, no_gib_pages;
};

static struct cells {
    struct loam_stock stock;
    struct loam_space space, child;
    struct loam_space_batch batch; /* open if batch_steps != 0 */
    unsigned batch_steps;
    unsigned long audit_every; /* steps */
    bool has_child, is_traced;
    struct window window[WINDOWS], child_window[WINDOWS];
    unsigned long step, done, refused, without_memory;
} cells;

#define CELLS_CHECK(cond)                                                                 \
    do {                                                                                  \
        if (!(cond)) {                                                                    \
            (void)fprintf(stderr, "cells: %s:%d: step %lu: not %s\n", __FILE__, __LINE__, \
                          cells.step, #cond);                                             \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

static uint64_t cell_at(const struct window *window, unsigned cell)
{
    return window->start + cell * window->cell_bytes;
}

/* ---- comparing ----------------------------------------------------------- */

/* What the CPU can do of the attributes asked for. */
static struct loam_attr cells_effective(struct loam_attr a)
{
    if (!cells.space.features.pat && a.cache > LOAM_CACHE_UC)
        a.cache = LOAM_CACHE_UC_MINUS;
    if (!cells.space.features.nx)
        a.prot |= LOAM_PROT_EXEC;
    return a;
}

static bool cells_same_attr(struct loam_attr a, struct loam_attr b)
{
    return a.prot == b.prot && a.cache == b.cache;
}

/* One access, through what the CPU remembers. */
static void compare_access(struct cell *cell, unsigned cpu, uint64_t virt, uint64_t offset)
{
    static const enum machine_type types[] = { MACHINE_WB, MACHINE_WT, MACHINE_UC_MINUS,
                                               MACHINE_UC, MACHINE_WP, MACHINE_WC };
    const struct loam_attr want = cells_effective(cell->attr);
    const unsigned kind = (unsigned)cells_choose(3);
    const bool may_write = (want.prot & LOAM_PROT_WRITE) != 0 && !cell->cow;
    const bool denied = (kind == MACHINE_WRITE && !may_write) ||
                        (kind == MACHINE_EXEC && (want.prot & LOAM_PROT_EXEC) == 0);

    if (cell->pending)
        return;
    const struct machine_access seen = machine_access(cpu, virt + offset, kind);
    if (cell->kind != LOAM_ENTRY_PAGE) {
        CELLS_CHECK(seen.fault == MACHINE_NOT_PRESENT);
        return;
    }
    CELLS_CHECK(seen.fault == (denied ? MACHINE_PROTECTION : MACHINE_OK));
    if (denied)
        return;
    CELLS_CHECK(seen.phys == cell->value + offset);
    CELLS_CHECK(seen.type == types[want.cache]);
    cell->touched = cell->touched || offset < LOAM_PAGE_SIZE;
    cell->written = cell->written || (offset < LOAM_PAGE_SIZE && kind == MACHINE_WRITE);
}

static void compare_entry(const struct cell *cell, const struct loam_space *space, uint64_t virt)
{
    struct loam_entry entry;

    CELLS_CHECK(loam_space_entry(space, loam_virt_at(virt), &entry) == LOAM_OK);
    CELLS_CHECK(entry.kind == cell->kind);
    if (cell->kind == LOAM_ENTRY_HELD)
        CELLS_CHECK(entry.value + (virt & (entry.page_size - 1)) == cell->value);
    if (cell->kind == LOAM_ENTRY_GUARD || cell->kind == LOAM_ENTRY_TAG)
        CELLS_CHECK(entry.value == cell->value);
    if (cell->kind != LOAM_ENTRY_EMPTY)
        CELLS_CHECK(*(const uint64_t *)machine_ram(entry.where.addr) == entry.raw);
}

/* What a space says of a cell. */
static void compare_look(const struct cell *cell, const struct loam_space *space, uint64_t virt,
                         uint64_t offset)
{
    struct loam_translation seen;
    const enum loam_status st = loam_space_query(space, loam_virt_at(virt + offset), &seen);
    const loam_phys phys = loam_space_translate(space, loam_virt_at(virt + offset));

    compare_entry(cell, space, virt);
    if (cell->kind != LOAM_ENTRY_PAGE) {
        CELLS_CHECK(st == LOAM_NOT_FOUND && loam_phys_is_none(phys));
        return;
    }
    CELLS_CHECK(st == LOAM_OK && seen.phys.addr == cell->value + offset);
    CELLS_CHECK(phys.addr == seen.phys.addr);
    CELLS_CHECK(cells_same_attr(seen.attr, cells_effective(cell->attr)));
    CELLS_CHECK(seen.is_cow == cell->cow && seen.soft == cell->soft);
    if (offset >= LOAM_PAGE_SIZE)
        return;
    CELLS_CHECK(!cell->touched || (seen.bits & LOAM_PAGE_ACCESSED) != 0);
    CELLS_CHECK(!cell->written || (seen.bits & LOAM_PAGE_DIRTY) != 0);
}

/* A cell and its neighbours. */
static void compare_near(struct window *window, unsigned cell)
{
    for (unsigned i = cell == 0 ? 0 : cell - 1; i <= cell + 1 && i < window->cells; i++) {
        const uint64_t offset = cells_choose(2) == 0 ? 0 : window->cell_bytes - 1;
        compare_look(&window->cell[i], &cells.space, cell_at(window, i), offset);
        for (unsigned cpu = 0; cpu < machine_cpu_count(); cpu++)
            compare_access(&window->cell[i], cpu, cell_at(window, i), offset);
    }
}

static uint64_t compare_run(const struct window *window, const struct loam_mapping *run)
{
    const uint64_t first = (run->virt.start.addr - window->start) / window->cell_bytes;
    const uint64_t count = run->virt.size / window->cell_bytes;

    CELLS_CHECK(cell_at(window, (unsigned)first) == run->virt.start.addr);
    CELLS_CHECK(count * window->cell_bytes == run->virt.size && first + count <= window->cells);
    CELLS_CHECK(run->virt.start.addr % run->page_size == 0 && run->kind != LOAM_ENTRY_EMPTY);
    for (uint64_t i = 0; i < count; i++) {
        const struct cell *const cell = &window->cell[first + i];
        const uint64_t linear = run->phys.addr + i * window->cell_bytes;
        const bool placed = run->kind == LOAM_ENTRY_PAGE || run->kind == LOAM_ENTRY_HELD;
        CELLS_CHECK(cell->kind == run->kind);
        CELLS_CHECK(cell->value == (placed ? linear : run->value));
        if (run->kind == LOAM_ENTRY_PAGE)
            CELLS_CHECK(cells_same_attr(cells_effective(cell->attr), run->attr) &&
                        cell->cow == run->is_cow);
    }
    return count;
}

/* Every run is in the model, and as many cells are in use as in the model. */
static void compare_all(struct loam_space *space, const struct window *windows)
{
    struct loam_mapping run;
    loam_virt at = loam_virt_at(0);
    uint64_t found = 0, expected = 0;

    while (loam_space_next(space, at, &run) == LOAM_OK) {
        const uint64_t before = found;
        for (unsigned i = 0; i < WINDOWS; i++) {
            const struct window *const window = &windows[i];
            if (run.virt.start.addr - window->start < window->cells * window->cell_bytes)
                found += compare_run(window, &run);
        }
        CELLS_CHECK(found > before); /* else it is in no window */
        at.addr = run.virt.start.addr + run.virt.size;
        if (at.addr == 0)
            break;
    }
    for (unsigned i = 0; i < WINDOWS; i++) {
        for (unsigned cell = 0; cell < windows[i].cells; cell++)
            expected += windows[i].cell[cell].kind != LOAM_ENTRY_EMPTY;
    }
    CELLS_CHECK(found == expected);
}

/* Sound, and no frame lost. */
static void compare_tables(void)
{
    const char *broken = loam_stock_audit(&cells.stock);

    if (broken == NULL && cells.batch_steps == 0) {
        broken = loam_space_audit(&cells.space);
        CELLS_CHECK(cells.stock.out_count ==
                    cells.space.table_count + (cells.has_child ? cells.child.table_count : 0));
    }
    if (broken == NULL && cells.has_child)
        broken = loam_space_audit(&cells.child);
    if (broken != NULL)
        (void)fprintf(stderr, "cells: audit: %s\n", broken);
    CELLS_CHECK(broken == NULL);
    CELLS_CHECK(machine_interrupts());
}

static uint64_t cells_digest(void)
{
    return loam_space_digest(&cells.space) * 31 + loam_stock_digest(&cells.stock);
}

#include "paging_cells_ask.h"
#include "paging_cells_do.h"

#endif
