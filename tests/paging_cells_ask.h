/*
 * paging_cells_ask.h - see paging_cells.h, which includes it: what may be asked for, and
 * how it is chosen.
 */
#ifndef LOAM_TESTS_PAGING_CELLS_ASK_H
#define LOAM_TESTS_PAGING_CELLS_ASK_H

enum cells_verb {
    DO_MAP,
    DO_MAP_FRAMES,
    DO_HOLD,
    DO_TAG,
    DO_UNMAP,
    DO_DETACH,
    DO_PUBLISH,
    DO_UNTAG,
    DO_PROTECT,
    DO_CLEAR,
    DO_SOFT,
    DO_UNMAP_ANY,
    DO_REPLACE,
    DO_SWAP_OUT,
    DO_SWAP_IN,
    DO_COLLECT,
    DO_VERBS,
};

struct request {
    enum cells_verb verb;
    struct window *window;
    unsigned start, end; /* cells */
    uint64_t virt, size, phys, value;
    struct loam_attr attr;
    enum loam_entry_kind kind; /* of a tag */
    unsigned soft;
    loam_page_bits bits, seen;
    struct loam_translation was; /* SWAP_OUT */
    const loam_phys *frame;      /* HOLD: NULL: a range from phys on */
    size_t frames;
    bool batched; /* in the open batch */
};

/* ---- choosing ------------------------------------------------------------ */

static struct loam_attr choose_attr(bool lower)
{
    const unsigned wild = cells_choose(32) == 0;
    struct loam_attr attr = { LOAM_PROT_READ, LOAM_CACHE_WB };

    attr.prot = wild ? (loam_prot)cells_choose(32) : (loam_prot)cells_choose(3);
    if (!wild && cells_choose(2) == 0)
        attr.prot |= lower ? LOAM_PROT_USER : LOAM_PROT_GLOBAL;
    if (cells_choose(4) == 0)
        attr.cache = (enum loam_cache)cells_choose(wild ? 8 : LOAM_CACHES);
    return attr;
}

static bool attr_is_valid(bool lower, struct loam_attr attr)
{
    return attr.prot < 16 && (unsigned)attr.cache < LOAM_CACHES && (attr.prot & 3) != 3 &&
           (attr.prot & (lower ? LOAM_PROT_GLOBAL : LOAM_PROT_USER)) == 0;
}

/* Cells of a request: near an edge of large pages, more often than not. */
static void choose_cells(struct request *r)
{
    const struct window *const window = r->window;
    const uint64_t span = (uint64_t)window->cells * window->cell_bytes;
    const uint64_t stride = window->cell_bytes < (1u << 21) ? UINT64_C(1) << 21 : UINT64_C(1) << 30;
    uint64_t at = cells_choose(window->cells);
    uint64_t count = 1 + cells_choose(cells_choose(2) == 0 ? 4 : 80);

    if (cells_choose(2) == 0) { /* whole large pages, give or take one cell */
        const uint64_t first = (0 - window->start) & (stride - 1);
        at = (first + cells_choose(span / stride) * stride) / window->cell_bytes;
        count = stride / window->cell_bytes * (1 + cells_choose(2));
        at += cells_choose(4) == 0 ? cells_choose(3) - 1 : 0;
        count += cells_choose(4) == 0 ? cells_choose(3) - 1 : 0;
    }
    if (at >= window->cells)
        at = window->cells - 1;
    if (count == 0 || count > window->cells - at)
        count = window->cells - at;
    r->start = (unsigned)at;
    r->end = (unsigned)(at + count);
}

/* Backing: aligned as the range is, so that large pages fit, or not. */
static uint64_t choose_phys(const struct request *r)
{
    const uint64_t place = cells_choose(16) << 30;
    const uint64_t limit = UINT64_C(1) << cells.space.features.phys_bits;

    switch (cells_choose(16)) {
    case 0:
        return place + cells_choose(256) * LOAM_PAGE_SIZE;
    case 1:
        return place + (r->virt + (UINT64_C(1) << 21)) % (UINT64_C(1) << 30);
    case 2:
        return limit - r->size + cells_choose(2) * LOAM_PAGE_SIZE;
    case 3:
        return place + r->virt % (UINT64_C(1) << 21) + cells_choose(2);
    default: /* follows on, so that what was cut may be whole again */
        return (r->window->is_lower ? 0 : UINT64_C(1) << 34) + r->virt % (UINT64_C(1) << 33);
    }
}

static const loam_phys *choose_frames(struct request *r)
{
    static loam_phys frames[CELLS_FRAMES];
    const bool follows = r->window->cell_bytes > LOAM_PAGE_SIZE || cells_choose(2) == 0;

    for (size_t i = 0; i < r->frames; i++) {
        frames[i].addr = r->phys + i * LOAM_PAGE_SIZE;
        if (!follows)
            frames[i].addr = r->phys + (i * 7 + 3) % 512 * LOAM_PAGE_SIZE;
    }
    return frames;
}

/* Something that can be done where the request starts. */
static enum cells_verb choose_verb(enum loam_entry_kind kind)
{
    static const enum cells_verb empty[] = { DO_MAP,  DO_MAP,  DO_MAP, DO_MAP_FRAMES,
                                             DO_HOLD, DO_HOLD, DO_TAG };
    static const enum cells_verb page[] = { DO_UNMAP,    DO_UNMAP,    DO_DETACH,   DO_PROTECT,
                                            DO_PROTECT,  DO_CLEAR,    DO_SOFT,     DO_REPLACE,
                                            DO_SWAP_OUT, DO_SWAP_OUT, DO_UNMAP_ANY };

    switch (kind) {
    case LOAM_ENTRY_EMPTY:
        return empty[cells_choose(sizeof empty / sizeof empty[0])];
    case LOAM_ENTRY_PAGE:
        return page[cells_choose(sizeof page / sizeof page[0])];
    case LOAM_ENTRY_HELD:
        return cells_choose(3) == 0 ? DO_COLLECT : DO_PUBLISH;
    case LOAM_ENTRY_TAG:
        return cells_choose(2) == 0 ? DO_UNTAG : DO_SWAP_IN;
    default:
        return DO_UNTAG;
    }
}

/* Is it of one small page? */
static bool is_of_a_page(enum cells_verb verb)
{
    return verb == DO_REPLACE || verb == DO_SWAP_OUT || verb == DO_SWAP_IN;
}

/* End the request where the kind of cells changes. */
static void make_feasible(struct request *r)
{
    const struct cell *const cell = r->window->cell;
    unsigned end = r->start + 1;

    while (end < r->end && (cell[end].kind == cell[r->start].kind ||
                            (r->verb == DO_UNTAG && cell[end].kind >= LOAM_ENTRY_GUARD &&
                             cell[end].kind <= LOAM_ENTRY_TAG)))
        end++;
    r->end = end;
}

static struct request choose_request(void)
{
    struct request r = { .window = &cells.window[cells_choose(WINDOWS)] };

    choose_cells(&r);
    r.verb = (enum cells_verb)cells_choose(DO_VERBS);
    if (cells_choose(8) != 0) {
        r.verb = choose_verb(r.window->cell[r.start].kind);
        if (r.verb != DO_UNMAP_ANY)
            make_feasible(&r);
    }
    if (is_of_a_page(r.verb))
        r.end = r.start + 1;
    if (r.verb == DO_MAP_FRAMES || r.verb == DO_HOLD) {
        const uint64_t max = CELLS_FRAMES * LOAM_PAGE_SIZE / r.window->cell_bytes;
        r.end = r.end - r.start > max ? r.start + (unsigned)max : r.end;
    }
    r.virt = cell_at(r.window, r.start);
    r.size = (r.end - r.start) * r.window->cell_bytes;
    r.phys = choose_phys(&r);
    r.attr = choose_attr(r.window->is_lower);
    r.kind = cells_choose(2) == 0 ? LOAM_ENTRY_GUARD : LOAM_ENTRY_TAG;
    r.value = cells_choose(4) == 0 ? (UINT64_C(1) << 56) - 1 : cells_choose(3);
    if (r.verb == DO_SWAP_IN && cells_choose(8) != 0)
        r.value = r.window->cell[r.start].value & ((UINT64_C(1) << 56) - 1);
    r.soft = (unsigned)cells_choose(32) == 0 ? 8 : (unsigned)cells_choose(8);
    r.bits = (loam_page_bits)cells_choose(4);
    if (r.verb == DO_MAP_FRAMES || r.verb == DO_HOLD) {
        r.frames = (size_t)(r.size / LOAM_PAGE_SIZE);
        r.frame = r.verb == DO_HOLD && cells_choose(2) == 0 ? NULL : choose_frames(&r);
    }
    r.batched = cells.batch_steps != 0 && cells_choose(2) == 0;
    return r;
}

/* Can the request be made at all? Others break rules, or the model's cells. */
static bool may_ask(const struct request *r)
{
    struct loam_entry first, last;

    if ((is_of_a_page(r->verb) || r->verb == DO_MAP_FRAMES || r->verb == DO_HOLD) &&
        r->window->cell_bytes > (is_of_a_page(r->verb) ? 1u << 12 : 1u << 21))
        return false;
    if (r->verb != DO_COLLECT)
        return true;
    for (unsigned i = r->start; i < r->end; i++) {
        const struct cell *const cell = &r->window->cell[i];
        if (cell->pending || (cell->kind != LOAM_ENTRY_HELD && cell->kind != LOAM_ENTRY_EMPTY))
            return false;
    }
    const uint64_t end = r->virt + r->size;
    CELLS_CHECK(loam_space_entry(&cells.space, loam_virt_at(r->virt), &first) == LOAM_OK);
    CELLS_CHECK(loam_space_entry(&cells.space, loam_virt_at(end - 1), &last) == LOAM_OK);
    return (first.kind != LOAM_ENTRY_HELD || (r->virt & (first.page_size - 1)) == 0) &&
           (last.kind != LOAM_ENTRY_HELD || (end & (last.page_size - 1)) == 0);
}

#endif
