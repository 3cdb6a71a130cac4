/*
 * usage.c - see usage.h.
 *
 * Every change is first a plan, made without changing anything, and then carried
 * out as a whole or not at all; see internal/usage_list.h, the storage.
 */
#include <loam/usage.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/text.h"
#include "internal/try.h"
#include "internal/usage_list.h"

/* Columns of the table. */
#define USAGE_NAME_WIDTH  16u /* "library metadata" */
#define USAGE_COUNT_WIDTH 11u
#define USAGE_BYTES_WIDTH (LOAM_TEXT_DECIMAL_MAX + 2u)

/* ---- plans --------------------------------------------------------------- */

static bool usage_is_owner(enum loam_owner owner)
{
    return (unsigned)owner < LOAM_OWNERS;
}

/* A range from outside as first and last byte. */
static enum loam_status usage_entry_of(struct loam_phys_range range, enum loam_owner owner,
                                       struct usage_entry *out)
{
    const uint64_t first = range.start.addr;

    if (range.size == 0 || !loam_range_fits(first, range.size) || !usage_is_owner(owner))
        return LOAM_INVALID;
    out->first = first;
    out->last = first + (range.size - 1);
    out->owner = owner;
    return LOAM_OK;
}

static struct loam_interval usage_interval_of(const struct usage_entry *entry)
{
    const struct loam_interval interval = {
        { loam_phys_at(entry->first), entry->last - entry->first + 1 }, entry->owner
    };
    return interval;
}

static bool usage_overlaps_locked(struct loam_usage *usage, const struct usage_entry *range)
    LOAM_NEEDS(usage->lock)
{
    const struct usage_cursor at = usage_seek_locked(usage, range->first);
    const struct usage_entry *entry = usage_entry_locked(usage, &at);

    return entry != NULL && entry->first <= range->last;
}

/* Keep what an interval has below a range that overlaps it. */
static void usage_plan_below(struct usage_plan *plan, const struct usage_entry *entry,
                             const struct usage_entry *range)
{
    if (entry->first < range->first) {
        const struct usage_entry rest = { entry->first, range->first - 1, entry->owner };
        plan->put[plan->put_count++] = rest;
    }
}

/* Keep what an interval has above a range that overlaps it. */
static void usage_plan_above(struct usage_plan *plan, const struct usage_entry *entry,
                             const struct usage_entry *range)
{
    if (entry->last > range->last) {
        const struct usage_entry rest = { range->last + 1, entry->last, entry->owner };
        plan->put[plan->put_count++] = rest;
    }
}

/*
 * Take a range away from all intervals. With @p keep, give it to its owner then,
 * merged with touching intervals of that owner:
 *
 *     intervals  [ A    )[ B  )    [ B       )
 *     range              [ A           )
 *     removed    ^^^^^^^^^^^^^^    ^^^^^^^^^^^
 *     put        [ A                   )[ B  )
 */
static struct usage_plan usage_plan_locked(struct loam_usage *usage,
                                           const struct usage_entry *range, bool keep)
    LOAM_NEEDS(usage->lock)
{
    const uint64_t touch = keep && range->first > 0 ? range->first - 1 : range->first;
    struct usage_plan plan = { .at = usage_seek_locked(usage, touch) };
    struct usage_entry whole = *range; /* grows by what it is merged with */
    const struct usage_entry *other = NULL;
    const struct usage_entry *entry;
    struct usage_cursor cursor = plan.at;

    while ((entry = usage_entry_locked(usage, &cursor)) != NULL) {
        const bool same = keep && entry->owner == range->owner;
        if (entry->first > range->last && !(same && entry->first - 1 == range->last))
            break;
        if (same) {
            whole.first = entry->first < whole.first ? entry->first : whole.first;
            whole.last = entry->last > whole.last ? entry->last : whole.last;
        } else {
            usage_plan_below(&plan, entry, range); /* all of one that only touches */
            other = entry;
        }
        plan.remove_count++;
        usage_step_locked(usage, &cursor);
    }
    if (keep)
        plan.put[plan.put_count++] = whole;
    if (other != NULL) /* the last one; those before it end inside the range */
        usage_plan_above(&plan, other, range);
    return plan;
}

/* ---- changes ------------------------------------------------------------- */

void loam_usage_init(struct loam_usage *usage, struct loam_stock *nodes)
{
    LOAM_REQUIRE(nodes != NULL, "usage: no stock of nodes", 0, 0);
    __builtin_memset(usage, 0, sizeof(*usage)); /* the lock starts as zeroes */
    usage->nodes = nodes;
    usage->first = loam_phys_none();
}

static enum loam_status usage_insert(struct loam_usage *usage, struct loam_phys_range range,
                                     enum loam_owner owner, bool merge)
{
    struct usage_entry want;
    enum loam_status status = LOAM_OVERLAP;

    LOAM_TRY(usage_entry_of(range, owner, &want));
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    if (!usage_overlaps_locked(usage, &want)) {
        const struct usage_plan plain = { usage_seek_locked(usage, want.first), 0, { want }, 1 };
        const struct usage_plan plan = merge ? usage_plan_locked(usage, &want, true) : plain;
        status = usage_carry_out_locked(usage, &plan);
    }
    loam_ticketlock_release_irq(&usage->lock, irq);
    return status;
}

enum loam_status loam_usage_insert(struct loam_usage *usage, struct loam_phys_range range,
                                   enum loam_owner owner)
{
    return usage_insert(usage, range, owner, false);
}

enum loam_status loam_usage_insert_merge(struct loam_usage *usage, struct loam_phys_range range,
                                         enum loam_owner owner)
{
    return usage_insert(usage, range, owner, true);
}

enum loam_status loam_usage_overwrite(struct loam_usage *usage, struct loam_phys_range range,
                                      enum loam_owner owner)
{
    struct usage_entry want;

    LOAM_TRY(usage_entry_of(range, owner, &want));
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    const struct usage_plan plan = usage_plan_locked(usage, &want, true);
    const enum loam_status status = usage_carry_out_locked(usage, &plan);
    loam_ticketlock_release_irq(&usage->lock, irq);
    return status;
}

enum loam_status loam_usage_cut(struct loam_usage *usage, struct loam_phys_range range)
{
    struct usage_entry want;
    enum loam_status status = LOAM_NOT_FOUND;

    LOAM_TRY(usage_entry_of(range, LOAM_OWNER_USABLE, &want)); /* no owner is asked for */
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    const struct usage_plan plan = usage_plan_locked(usage, &want, false);
    if (plan.remove_count > 0)
        status = usage_carry_out_locked(usage, &plan);
    loam_ticketlock_release_irq(&usage->lock, irq);
    return status;
}

/* ---- questions ----------------------------------------------------------- */

bool loam_usage_next(struct loam_usage *usage, loam_phys from, struct loam_interval *out)
{
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    const struct usage_cursor at = usage_seek_locked(usage, from.addr);
    const struct usage_entry *entry = usage_entry_locked(usage, &at);

    if (entry != NULL)
        *out = usage_interval_of(entry);
    loam_ticketlock_release_irq(&usage->lock, irq);
    return entry != NULL;
}

bool loam_usage_lookup(struct loam_usage *usage, loam_phys at, struct loam_interval *out)
{
    struct loam_interval next;

    /* The lowest one with a byte at or above holds the byte, or it starts above. */
    if (!loam_usage_next(usage, at, &next) || next.range.start.addr > at.addr)
        return false;
    *out = next;
    return true;
}

uint64_t loam_usage_total(struct loam_usage *usage, enum loam_owner owner)
{
    if (!usage_is_owner(owner))
        return 0;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    const uint64_t total = usage->total_bytes[owner];
    loam_ticketlock_release_irq(&usage->lock, irq);
    return total;
}

/* Lowest place for a request inside an interval, ending at or below @p last;
 * UINT64_MAX if there is none. */
static uint64_t usage_place_in(const struct usage_entry *entry,
                               const struct loam_usage_request *request, uint64_t last)
{
    const uint64_t align_bytes = request->align_bytes != 0 ? request->align_bytes : 1;
    const uint64_t first = entry->first > request->from ? entry->first : request->from;
    const uint64_t top = entry->last < last ? entry->last : last;
    const uint64_t gap = -first & (align_bytes - 1);

    if (first > top || gap > top - first)
        return UINT64_MAX;
    const uint64_t start = first + gap;
    return request->size - 1 <= top - start ? start : UINT64_MAX;
}

loam_phys loam_usage_find(struct loam_usage *usage, const struct loam_usage_request *request)
{
    const uint64_t last = request->limit - 1; /* no limit: the last byte there is */
    uint64_t place = UINT64_MAX;

    if (request->size == 0 ||
        (request->align_bytes != 0 && !loam_is_power_of_two(request->align_bytes)))
        return loam_phys_none();
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    struct usage_cursor cursor = usage_seek_locked(usage, request->from);
    const struct usage_entry *entry = usage_entry_locked(usage, &cursor);
    while (place == UINT64_MAX && entry != NULL && entry->first <= last) {
        if (entry->owner == request->owner)
            place = usage_place_in(entry, request, last);
        usage_step_locked(usage, &cursor);
        entry = usage_entry_locked(usage, &cursor);
    }
    loam_ticketlock_release_irq(&usage->lock, irq);
    return loam_phys_at(place); /* UINT64_MAX is "none" */
}

/* ---- names and printing -------------------------------------------------- */

const char *loam_owner_name(enum loam_owner owner)
{
    static const char *const names[LOAM_OWNERS] = {
        [LOAM_OWNER_USABLE] = "usable",
        [LOAM_OWNER_BOOTLOADER] = "bootloader",
        [LOAM_OWNER_EXECUTABLE] = "executable",
        [LOAM_OWNER_PAGE_TABLES] = "page tables",
        [LOAM_OWNER_HEAP] = "heap",
        [LOAM_OWNER_METADATA] = "library metadata",
        [LOAM_OWNER_KERNEL] = "kernel",
        [LOAM_OWNER_ACPI_RECLAIMABLE] = "ACPI tables",
        [LOAM_OWNER_RESERVED_MAPPED] = "firmware tables",
        [LOAM_OWNER_ACPI_NVS] = "ACPI NVS",
        [LOAM_OWNER_RESERVED] = "reserved",
        [LOAM_OWNER_FRAMEBUFFER] = "framebuffer",
        [LOAM_OWNER_BAD] = "bad",
    };

    return usage_is_owner(owner) ? names[owner] : "unknown";
}

enum loam_owner loam_owner_of_type(enum loam_mem_type type)
{
    static const enum loam_owner owners[LOAM_MEM_TYPES] = {
        [LOAM_MEM_USABLE] = LOAM_OWNER_USABLE,
        [LOAM_MEM_BOOT_RECLAIMABLE] = LOAM_OWNER_BOOTLOADER,
        [LOAM_MEM_ACPI_RECLAIMABLE] = LOAM_OWNER_ACPI_RECLAIMABLE,
        [LOAM_MEM_EXECUTABLE] = LOAM_OWNER_EXECUTABLE,
        [LOAM_MEM_RESERVED_MAPPED] = LOAM_OWNER_RESERVED_MAPPED,
        [LOAM_MEM_ACPI_NVS] = LOAM_OWNER_ACPI_NVS,
        [LOAM_MEM_RESERVED] = LOAM_OWNER_RESERVED,
        [LOAM_MEM_FRAMEBUFFER] = LOAM_OWNER_FRAMEBUFFER,
        [LOAM_MEM_BAD] = LOAM_OWNER_BAD,
    };

    return (unsigned)type < LOAM_MEM_TYPES ? owners[type] : LOAM_OWNER_RESERVED;
}

/* Bytes of at least one interval, readable. No interval is empty: 0 is 2^64. */
static void usage_print_size(const struct loam_writer *writer, uint64_t bytes)
{
    if (bytes == 0)
        loam_text_right(writer, "16 EiB", LOAM_TEXT_SIZE_MAX);
    else
        loam_text_size(writer, bytes, LOAM_TEXT_SIZE_MAX);
}

void loam_usage_print_intervals(struct loam_usage *usage, const struct loam_writer *writer)
{
    struct loam_interval interval;
    loam_phys at = loam_phys_at(0);
    bool more = loam_usage_next(usage, at, &interval);

    while (more) { /* terminates: at strictly increases */
        const uint64_t first = interval.range.start.addr;
        loam_text_hex(writer, first);
        loam_text_string(writer, "-");
        loam_text_hex(writer, first + (interval.range.size - 1));
        loam_text_string(writer, "   ");
        usage_print_size(writer, interval.range.size);
        loam_text_string(writer, "  ");
        loam_text_string(writer, loam_owner_name(interval.owner));
        loam_text_string(writer, "\n");
        more = loam_interval_end(&interval, &at) && loam_usage_next(usage, at, &interval);
    }
}

static void usage_print_row(const struct loam_writer *writer, const char *name, uint64_t count,
                            uint64_t bytes)
{
    loam_text_left(writer, name, USAGE_NAME_WIDTH);
    loam_text_decimal(writer, count, USAGE_COUNT_WIDTH);
    if (bytes == 0)
        loam_text_right(writer, "18446744073709551616", USAGE_BYTES_WIDTH);
    else
        loam_text_decimal(writer, bytes, USAGE_BYTES_WIDTH);
    loam_text_string(writer, "  ");
    usage_print_size(writer, bytes);
    loam_text_string(writer, "\n");
}

void loam_usage_print_table(struct loam_usage *usage, const struct loam_writer *writer)
{
    uint64_t count[LOAM_OWNERS];
    uint64_t bytes[LOAM_OWNERS];
    uint64_t sum = 0;

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    const uint64_t interval_count = usage->interval_count;
    __builtin_memcpy(count, usage->owner_count, sizeof(count));
    __builtin_memcpy(bytes, usage->total_bytes, sizeof(bytes));
    loam_ticketlock_release_irq(&usage->lock, irq);

    loam_text_left(writer, "owner", USAGE_NAME_WIDTH);
    loam_text_right(writer, "intervals", USAGE_COUNT_WIDTH);
    loam_text_right(writer, "bytes", USAGE_BYTES_WIDTH);
    loam_text_string(writer, "  ");
    loam_text_right(writer, "size", LOAM_TEXT_SIZE_MAX);
    loam_text_string(writer, "\n");
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++) {
        if (count[owner] > 0)
            usage_print_row(writer, loam_owner_name((enum loam_owner)owner), count[owner],
                            bytes[owner]);
        sum += bytes[owner];
    }
    if (interval_count > 0)
        usage_print_row(writer, "sum", interval_count, sum);
}

/* ---- audit and digest ---------------------------------------------------- */

/* What the intervals say, to be compared with what was counted. */
struct usage_tally {
    uint64_t interval_count;
    uint64_t total_bytes[LOAM_OWNERS];
    uint64_t owner_count[LOAM_OWNERS];
    uint64_t last; /* of the interval before, if there was one */
};

static const char *usage_audit_node(const struct usage_node *node, struct usage_tally *tally)
{
    for (uint64_t i = 0; i < node->count; i++) {
        const struct usage_entry *entry = &node->entry[i];
        if (entry->last < entry->first)
            return "usage: interval ends before it starts";
        if (tally->interval_count > 0 && entry->first <= tally->last)
            return "usage: intervals overlap or are out of order";
        if (!usage_is_owner(entry->owner))
            return "usage: unknown owner";
        tally->last = entry->last;
        tally->interval_count++;
        tally->owner_count[entry->owner]++;
        tally->total_bytes[entry->owner] += entry->last - entry->first + 1;
    }
    return NULL;
}

static const char *usage_audit_tally(const struct loam_usage *usage,
                                     const struct usage_tally *tally)
{
    if (tally->interval_count != usage->interval_count)
        return "usage: interval count is wrong";
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++) {
        if (tally->owner_count[owner] != usage->owner_count[owner])
            return "usage: interval count of an owner is wrong";
        if (tally->total_bytes[owner] != usage->total_bytes[owner])
            return "usage: bytes of an owner are wrong";
    }
    return NULL;
}

const char *loam_usage_audit(const struct loam_usage *usage)
{
    struct usage_tally tally;
    uint64_t count_before = USAGE_NODE_MAX; /* nothing is wrong with a lone small node */
    loam_phys at = usage->first;

    __builtin_memset(&tally, 0, sizeof(tally));
    for (uint64_t i = 0; i < usage->node_count; i++) { /* ends on a cycle, too */
        if (loam_phys_is_none(at))
            return "usage: fewer nodes than counted";
        if (at.addr == 0 || !loam_is_page_aligned(at.addr))
            return "usage: node is not a page frame";
        const struct usage_node *node = usage_node_at(usage, at);
        if (node->count == 0 || node->count > USAGE_NODE_MAX)
            return "usage: node holds no intervals, or too many";
        if (count_before + node->count <= USAGE_MERGE_MAX)
            return "usage: neighbouring nodes were not merged";
        const char *broken = usage_audit_node(node, &tally);
        if (broken != NULL)
            return broken;
        count_before = node->count;
        at = node->next;
    }
    if (!loam_phys_is_none(at))
        return "usage: more nodes than counted, or a cycle";
    return usage_audit_tally(usage, &tally);
}

uint64_t loam_usage_digest(const struct loam_usage *usage)
{
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, usage->interval_count);

    for (loam_phys at = usage->first; !loam_phys_is_none(at);) {
        const struct usage_node *node = usage_node_at(usage, at);
        for (uint64_t i = 0; i < node->count; i++) {
            digest = loam_digest_add(digest, node->entry[i].first);
            digest = loam_digest_add(digest, node->entry[i].last);
            digest = loam_digest_add(digest, (uint64_t)node->entry[i].owner);
        }
        at = node->next;
    }
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++) {
        digest = loam_digest_add(digest, usage->total_bytes[owner]);
        digest = loam_digest_add(digest, usage->owner_count[owner]);
    }
    return digest;
}
