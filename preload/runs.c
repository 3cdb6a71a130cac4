/*
 * runs.c - see runs.h.
 */
#include "runs.h"

/* Free runs of what a node covers, in pages. */
struct runs_free {
    uint64_t size, best, head, tail;
};

/* ---- nodes ---------------------------------------------------------------------- */

static uint64_t runs_node_pages(unsigned level)
{
    return (uint64_t)RUNS_BLOCK << 4 * level;
}

static struct runs_free runs_read(const struct runs *runs, unsigned level, uint64_t index)
{
    const struct runs_node *const node = &runs->level[level][index];
    const uint64_t size = runs_node_pages(level);
    const struct runs_free has = { size, size - node->best_lack, size - node->head_lack,
                                   size - node->tail_lack };
    return has;
}

/* Free runs of two neighbours together. */
static struct runs_free runs_join(struct runs_free low, struct runs_free high)
{
    struct runs_free both = { low.size + high.size, low.best, low.head, high.tail };
    const uint64_t middle = low.tail + high.head;

    both.best = high.best > both.best ? high.best : both.best;
    both.best = middle > both.best ? middle : both.best;
    if (low.head == low.size)
        both.head = low.size + high.head;
    if (high.tail == high.size)
        both.tail = high.size + low.tail;
    return both;
}

/* @return has it changed? */
static bool runs_write(struct runs *runs, unsigned level, uint64_t index, struct runs_free has)
{
    struct runs_node *const node = &runs->level[level][index];
    const struct runs_node now = { (uint32_t)(has.size - has.best), (uint32_t)(has.size - has.head),
                                   (uint32_t)(has.size - has.tail) };
    const bool is_same = node->best_lack == now.best_lack && node->head_lack == now.head_lack &&
                         node->tail_lack == now.tail_lack;
    if (!is_same)
        *node = now;
    return !is_same;
}

static uint64_t runs_nodes(const struct runs *runs, unsigned level)
{
    const uint64_t pages = runs_node_pages(level);
    return (runs->page_count + pages - 1) / pages;
}

/* Sum up the nodes below one; what lies past the end is not free. */
static struct runs_free runs_sum(const struct runs *runs, unsigned level, uint64_t index)
{
    const uint64_t count = runs_nodes(runs, level - 1);
    const uint64_t missing = runs_node_pages(level - 1);
    struct runs_free sum = runs_read(runs, level - 1, index * RUNS_FAN);

    for (uint64_t i = index * RUNS_FAN + 1; i < (index + 1) * RUNS_FAN; i++) {
        const struct runs_free none = { missing, 0, 0, 0 };
        sum = runs_join(sum, i < count ? runs_read(runs, level - 1, i) : none);
    }
    return sum;
}

/* ---- bits of a block --------------------------------------------------------------- */

/* The first page at or after @p at whose bit is @p is_used, below @p end; else @p end. */
static uint64_t runs_scan(const struct runs *runs, uint64_t at, uint64_t end, bool is_used)
{
    while (at < end) {
        const uint64_t word = is_used ? runs->used[at / 64] : ~runs->used[at / 64];
        const uint64_t rest = word >> at % 64;
        if (rest != 0) {
            at += (unsigned)__builtin_ctzll(rest);
            return at < end ? at : end;
        }
        at = (at / 64 + 1) * 64;
    }
    return end;
}

/* Longest run of bits that are set, if there is one longer than @p least; else @p least. */
static uint64_t runs_longest(uint64_t bits, uint64_t least)
{
    for (uint64_t i = 0; i < least && bits != 0; i++) /* what is left: runs longer than least */
        bits &= bits << 1;
    for (; bits != 0; bits &= bits << 1)
        least++;
    return least;
}

static struct runs_free runs_count(const struct runs *runs, uint64_t block)
{
    const uint64_t *const used = runs->used + block * (RUNS_BLOCK / 64);
    struct runs_free has = { RUNS_BLOCK, 0, 0, 0 };
    uint64_t run = 0; /* that goes on in the next word */
    bool is_head = true;

    for (unsigned i = 0; i < RUNS_BLOCK / 64; i++) {
        if (used[i] == 0) {
            run += 64;
            continue;
        }
        const uint64_t low = (unsigned)__builtin_ctzll(used[i]);
        const uint64_t high = (unsigned)__builtin_clzll(used[i]);
        run += low;
        has.head = is_head ? run : has.head;
        has.best = run > has.best ? run : has.best;
        is_head = false;
        if (64 - low - high > has.best + 2) /* between the first one in use and the last one */
            has.best = runs_longest(~used[i] << high >> high & UINT64_MAX << low, has.best);
        run = high;
    }
    has.head = is_head ? run : has.head;
    has.tail = run;
    has.best = run > has.best ? run : has.best;
    return has;
}

static uint64_t runs_mask(uint64_t at, uint64_t end)
{
    const uint64_t bits = end - at < 64 - at % 64 ? end - at : 64 - at % 64;
    return (bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1) << at % 64;
}

static void runs_mark(struct runs *runs, uint64_t page, uint64_t count, bool is_used)
{
    for (uint64_t at = page; at < page + count; at = (at / 64 + 1) * 64) {
        const uint64_t mask = runs_mask(at, page + count);
        runs->used[at / 64] = is_used ? runs->used[at / 64] | mask : runs->used[at / 64] & ~mask;
    }
}

/* After bits of these pages were changed. Blocks in the middle are all alike. */
static void runs_update(struct runs *runs, uint64_t page, uint64_t count)
{
    uint64_t first = page / RUNS_BLOCK, last = (page + count - 1) / RUNS_BLOCK;
    bool has_changed = false;

    for (uint64_t block = first; block <= last; block++)
        has_changed = runs_write(runs, 0, block, runs_count(runs, block)) || has_changed;
    for (unsigned level = 1; level < runs->levels && has_changed; level++) {
        first /= RUNS_FAN;
        last /= RUNS_FAN;
        has_changed = false;
        for (uint64_t i = first; i <= last; i++)
            has_changed = runs_write(runs, level, i, runs_sum(runs, level, i)) || has_changed;
    }
}

/* ---- setup ---------------------------------------------------------------------------- */

uint64_t runs_bytes_needed(uint64_t page_count)
{
    uint64_t bytes = page_count / 8, nodes = page_count / RUNS_BLOCK;

    for (;; nodes = (nodes + RUNS_FAN - 1) / RUNS_FAN) {
        bytes += nodes * sizeof(struct runs_node) + 64;
        if (nodes == 1)
            return bytes;
    }
}

void runs_init(struct runs *runs, uint64_t page_count, void *memory)
{
    /* From the top, so that the first node of each level shares pages with the others'. */
    uint8_t *at = memory;

    runs->page_count = page_count;
    runs->levels = 1;
    while (runs_nodes(runs, runs->levels - 1) > 1)
        runs->levels++;
    for (unsigned level = runs->levels; level-- > 0;) {
        runs->level[level] = (struct runs_node *)(void *)at;
        at += (runs_nodes(runs, level) * sizeof(struct runs_node) + 63) & ~UINT64_C(63);
    }
    runs->used = (uint64_t *)(void *)at;
    /* A node that is not full to its end: what lies past it is not free. */
    for (unsigned level = 1; level < runs->levels; level++) {
        const uint64_t last = runs_nodes(runs, level) - 1;
        if (page_count % runs_node_pages(level) != 0)
            (void)runs_write(runs, level, last, runs_sum(runs, level, last));
    }
}

/* ---- finding -------------------------------------------------------------------------- */

/*
 * The lowest run of @p count free pages. It begins where a free run begins: at the head of
 * a node, somewhere inside one, or at the tail of one and goes on in the next.
 */
static uint64_t runs_find(const struct runs *runs, uint64_t count)
{
    unsigned level = runs->levels - 1;
    uint64_t index = 0;

    if (runs_read(runs, level, 0).best < count)
        return RUNS_NONE;
    while (level > 0) {      /* this node has a run that is long enough */
        uint64_t before = 0; /* free pages right before node i */
        uint64_t i = index * RUNS_FAN;
        level--;
        for (;; i++) { /* ends: it is in one of them, or across some */
            const struct runs_free has = runs_read(runs, level, i);
            if (before + has.head >= count)
                return i * runs_node_pages(level) - before;
            if (has.best >= count)
                break;
            before = has.tail == has.size ? before + has.size : has.tail;
        }
        index = i;
    }
    const uint64_t end = (index + 1) * RUNS_BLOCK;
    uint64_t at = index * RUNS_BLOCK;
    for (;;) { /* ends: as above */
        const uint64_t from = runs_scan(runs, at, end, false);
        at = runs_scan(runs, from, end, true);
        if (at - from >= count)
            return from;
    }
}

uint64_t runs_take(struct runs *runs, uint64_t count, uint64_t align)
{
    const uint64_t slack = align - 1;
    uint64_t page;

    if (count == 0 || count > runs->page_count || slack > runs->page_count - count)
        return RUNS_NONE;
    page = runs_find(runs, count); /* happens to be aligned? */
    if (page != RUNS_NONE && (page & slack) != 0)
        page = runs_find(runs, count + slack);
    if (page == RUNS_NONE)
        return RUNS_NONE;
    page = (page + slack) & ~slack;
    runs_mark(runs, page, count, true);
    runs_update(runs, page, count);
    return page;
}

bool runs_take_at(struct runs *runs, uint64_t page, uint64_t count)
{
    if (count > runs->page_count || page > runs->page_count - count ||
        runs_scan(runs, page, page + count, true) != page + count)
        return false;
    runs_mark(runs, page, count, true);
    runs_update(runs, page, count);
    return true;
}

bool runs_free(struct runs *runs, uint64_t page, uint64_t count)
{
    if (count > runs->page_count || page > runs->page_count - count ||
        runs_scan(runs, page, page + count, false) != page + count)
        return false;
    runs_mark(runs, page, count, false);
    runs_update(runs, page, count);
    return true;
}
