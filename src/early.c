/*
 * early.c - see early.h.
 *
 *     record  start            top                end
 *               [    free       )[     taken       )
 *
 * Invariants, see loam_early_audit():
 *     start <= top <= end, start < end, all page-aligned, start != 0
 *     record[i].end <= record[i + 1].start; where they touch, record[i + 1] has
 *         free memory: an exhausted record joins the taken part that it touches
 *     no record above record[current] has free memory; current may be 0 anyway
 *     free_pages, taken_pages: sums of top - start and of end - top
 */
#include <loam/early.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/inject.h"

#define EARLY_RULE_CLOSED "early: nothing is taken or reserved after loam_early_finish()"

/* ---- records ------------------------------------------------------------- */

/* Where a request ends up in a record, if it does. */
struct early_fit {
    bool fits;
    uint64_t start, end; /* the block */
    uint64_t gap;        /* bytes between it and what was taken before */
};

/* The highest place in the free part of @p record. Pure. */
static struct early_fit early_fit_in(const struct loam_early_record *record, uint64_t size,
                                     uint64_t align, uint64_t limit)
{
    struct early_fit fit = { false, 0, 0, 0 };
    const uint64_t top = record->top < limit ? record->top : limit;

    if (top <= record->start || top - record->start < size)
        return fit;
    fit.start = (top - size) & ~(align - 1);
    fit.end = fit.start + size;
    fit.gap = record->top - fit.end;
    fit.fits = fit.start >= record->start;
    return fit;
}

/* What a record is without a range that overlaps its free part: 0, 1 or 2
 * records, ascending. Pure. */
static unsigned early_cut(const struct loam_early_record *record, struct loam_phys_range range,
                          struct loam_early_record rest[2])
{
    const uint64_t start = range.start.addr;
    const uint64_t last = start + (range.size - 1);
    const uint64_t above = last < record->top ? last + 1 : record->top;
    unsigned count = 0;

    if (record->start < start) {
        const struct loam_early_record lower = { record->start, start, start };
        rest[count++] = lower;
    }
    if (above < record->end) {
        const struct loam_early_record upper = { above, record->top, record->end };
        rest[count++] = upper;
    }
    return count;
}

static bool early_overlaps(struct loam_phys_range range, uint64_t start, uint64_t end)
{
    return loam_phys_range_overlaps(range, loam_phys_range_of(loam_phys_at(start), end - start));
}

/* Is there a record for a split? */
static bool early_can_split(const struct loam_early *early)
{
    return early->record_count < early->record_max && !LOAM_INJECT("early.split");
}

/* Put two records where there was one. */
static void early_split(struct loam_early *early, size_t index,
                        const struct loam_early_record parts[2])
{
    struct loam_early_record *record = &early->record[index];

    LOAM_ASSERT(early->record_count < early->record_max);
    LOAM_ASSERT(index <= early->current); /* there was free memory in it */
    __builtin_memmove(record + 2, record + 1, (early->record_count - index - 1) * sizeof(*record));
    record[0] = parts[0];
    record[1] = parts[1];
    early->record_count++;
    early->current++;
}

static void early_remove(struct loam_early *early, size_t index)
{
    struct loam_early_record *record = &early->record[index];

    LOAM_ASSERT(index <= early->current);
    early->record_count--;
    __builtin_memmove(record, record + 1, (early->record_count - index) * sizeof(*record));
    if (early->current > 0)
        early->current--;
}

/* ---- interface ----------------------------------------------------------- */

enum loam_status loam_early_init(struct loam_early *early, const struct loam_memmap *map,
                                 struct loam_early_record *records, size_t record_max)
{
    size_t usable_count = 0;

    for (size_t i = 0; i < map->entry_count; i++)
        usable_count += map->entry[i].type == LOAM_MEM_USABLE;
    if (usable_count > record_max || LOAM_INJECT("early.init"))
        return LOAM_NO_SPACE;

    __builtin_memset(early, 0, sizeof(*early));
    early->record = records;
    early->record_max = record_max;
    for (size_t i = 0; i < map->entry_count; i++) {
        const struct loam_phys_range range = map->entry[i].range;
        if (map->entry[i].type != LOAM_MEM_USABLE)
            continue;
        LOAM_REQUIRE(range.start.addr != 0, "early: frame 0 of the map is not usable", 0,
                     range.size);
        struct loam_early_record *record = &records[early->record_count++];
        record->start = range.start.addr;
        record->top = record->end = range.start.addr + range.size;
        early->free_pages += range.size / LOAM_PAGE_SIZE;
    }
    early->current = usable_count > 0 ? usable_count - 1 : 0;
    LOAM_AUDIT(loam_early_audit(early) == NULL);
    return LOAM_OK;
}

/* Can the range be kept out? Changes nothing. */
static enum loam_status early_check_reserve(const struct loam_early *early,
                                            struct loam_phys_range range)
{
    struct loam_early_record rest[2];
    bool splits = false;

    for (size_t i = 0; i < early->record_count; i++) {
        const struct loam_early_record *record = &early->record[i];
        if (early_overlaps(range, record->top, record->end))
            return LOAM_OVERLAP;
        if (early_overlaps(range, record->start, record->top))
            splits |= early_cut(record, range, rest) == 2; /* at most one: where it starts */
    }
    return splits && !early_can_split(early) ? LOAM_NO_SPACE : LOAM_OK;
}

enum loam_status loam_early_reserve(struct loam_early *early, struct loam_phys_range range)
{
    LOAM_REQUIRE(!early->closed, EARLY_RULE_CLOSED, range.start.addr, range.size);
    if (range.size == 0 || !loam_is_page_aligned(range.start.addr | range.size) ||
        !loam_range_fits(range.start.addr, range.size))
        return LOAM_INVALID;
    const enum loam_status st = early_check_reserve(early, range);
    if (st != LOAM_OK)
        return st;

    for (size_t i = 0; i < early->record_count;) {
        struct loam_early_record *record = &early->record[i];
        struct loam_early_record rest[2];
        if (!early_overlaps(range, record->start, record->top)) {
            i++; /* also past what is left of a record after its cut */
            continue;
        }
        early->free_pages -= (record->top - record->start) / LOAM_PAGE_SIZE;
        const unsigned count = early_cut(record, range, rest);
        for (unsigned part = 0; part < count; part++)
            early->free_pages += (rest[part].top - rest[part].start) / LOAM_PAGE_SIZE;
        if (count == 2)
            early_split(early, i, rest);
        else if (count == 1)
            *record = rest[0];
        else
            early_remove(early, i);
    }
    LOAM_AUDIT(loam_early_audit(early) == NULL);
    return LOAM_OK;
}

/* Take a block that fits. A gap has a record for its split. */
static void early_take(struct loam_early *early, size_t index, const struct early_fit *fit)
{
    struct loam_early_record *record = &early->record[index];
    const uint64_t page_count = (fit->end - fit->start) / LOAM_PAGE_SIZE;

    if (fit->gap == 0) {
        record->top = fit->start;
    } else {
        const struct loam_early_record parts[2] = {
            { record->start, fit->start, fit->end },
            { fit->end, record->top, record->end },
        };
        early_split(early, index, parts);
    }
    if (index > 0 && record->start == record->top && record[-1].end == record->start) {
        record[-1].end = record->end;
        early_remove(early, index);
    }
    early->free_pages -= page_count;
    early->taken_pages += page_count;
}

loam_phys loam_early_alloc(struct loam_early *early, const struct loam_early_request *request)
{
    const uint64_t page_count = request->page_count;
    const uint64_t wanted = request->align_bytes != 0 ? request->align_bytes : LOAM_PAGE_SIZE;
    const uint64_t align = wanted > LOAM_PAGE_SIZE ? wanted : LOAM_PAGE_SIZE;
    const uint64_t limit = loam_page_floor(request->limit != 0 ? request->limit : UINT64_MAX);

    LOAM_REQUIRE(!early->closed, EARLY_RULE_CLOSED, page_count, 0);
    if (page_count == 0 || page_count > early->free_pages || !loam_is_power_of_two(wanted) ||
        LOAM_INJECT("early.alloc"))
        return loam_phys_none();

    while (early->current > 0 &&
           early->record[early->current].start == early->record[early->current].top)
        early->current--;
    /* free_pages is not 0: there is a record. */
    for (size_t above = early->current + 1; above > 0; above--) {
        const struct early_fit fit =
            early_fit_in(&early->record[above - 1], page_count * LOAM_PAGE_SIZE, align, limit);
        if (fit.fits && (fit.gap == 0 || early_can_split(early))) {
            early_take(early, above - 1, &fit);
            return loam_phys_at(fit.start);
        }
    }
    return loam_phys_none();
}

uint64_t loam_early_largest(const struct loam_early *early)
{
    uint64_t largest = 0;

    for (size_t i = 0; i < early->record_count; i++) {
        const uint64_t size = early->record[i].top - early->record[i].start;
        largest = size > largest ? size : largest;
    }
    return largest / LOAM_PAGE_SIZE;
}

void loam_early_finish(struct loam_early *early)
{
    LOAM_REQUIRE(!early->closed, "early: finished once", early->taken_pages, 0);
    early->closed = true;
}

bool loam_early_taken(const struct loam_early *early, size_t *cursor, struct loam_phys_range *out)
{
    LOAM_REQUIRE(early->closed, "early: what was taken is walked after loam_early_finish()",
                 early->taken_pages, 0);
    while (*cursor < early->record_count) {
        const struct loam_early_record *record = &early->record[(*cursor)++];
        if (record->top < record->end) {
            *out = loam_phys_range_of(loam_phys_at(record->top), record->end - record->top);
            return true;
        }
    }
    return false;
}

static const char *early_audit_record(const struct loam_early_record *record)
{
    if (record->start > record->top || record->top > record->end)
        return "early: start <= top <= end";
    if (record->start == record->end)
        return "early: a record is not empty";
    if (!loam_is_page_aligned(record->start | record->top | record->end))
        return "early: a record is page-aligned";
    if (record->start == 0)
        return "early: frame 0 is in no record";
    return NULL;
}

const char *loam_early_audit(const struct loam_early *early)
{
    uint64_t free_bytes = 0;
    uint64_t taken_bytes = 0;
    uint64_t end = 0;

    if (early->record_count > early->record_max)
        return "early: there are at most record_max records";
    if (early->current >= early->record_count && early->current != 0)
        return "early: the current record exists, or is 0";
    for (size_t i = 0; i < early->record_count; i++) {
        const struct loam_early_record *record = &early->record[i];
        const char *broken = early_audit_record(record);
        if (broken != NULL)
            return broken;
        if (record->start < end)
            return "early: records are ascending and disjoint";
        if (record->start == end && record->start == record->top)
            return "early: an exhausted record joins the one that it touches";
        if (i > early->current && record->start < record->top)
            return "early: no record above the current one has free memory";
        free_bytes += record->top - record->start;
        taken_bytes += record->end - record->top;
        end = record->end;
    }
    if (early->free_pages != free_bytes / LOAM_PAGE_SIZE)
        return "early: free_pages is the sum of the free parts";
    if (early->taken_pages != taken_bytes / LOAM_PAGE_SIZE)
        return "early: taken_pages is the sum of the taken parts";
    return NULL;
}

uint64_t loam_early_digest(const struct loam_early *early)
{
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, early->record_count);

    for (size_t i = 0; i < early->record_count; i++) {
        digest = loam_digest_add(digest, early->record[i].start);
        digest = loam_digest_add(digest, early->record[i].top);
        digest = loam_digest_add(digest, early->record[i].end);
    }
    digest = loam_digest_add(digest, early->free_pages);
    digest = loam_digest_add(digest, early->taken_pages);
    return loam_digest_add(digest, early->closed);
}
