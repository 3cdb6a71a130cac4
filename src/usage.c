/*
 * usage.c - see usage.h.
 *
 * Every change first looks, without changing anything, then reserves the nodes that
 * it needs, which can fail, then is carried out, which cannot. What overwrites and
 * cuts is in internal/usage_plan.h, the tree in internal/usage_tree.h.
 */
#include <loam/usage.h>

#include "internal/check.h"
#include "internal/digest.h"
#include "internal/text.h"
#include "internal/try.h"
#include "internal/usage_audit.h"
#include "internal/usage_grow.h"
#include "internal/usage_node.h"
#include "internal/usage_plan.h"
#include "internal/usage_pool.h"
#include "internal/usage_shrink.h"
#include "internal/usage_tree.h"

/* Columns of the table. */
#define USAGE_NAME_WIDTH  16u /* "library metadata" */
#define USAGE_COUNT_WIDTH 11u
#define USAGE_BYTES_WIDTH (LOAM_TEXT_DECIMAL_MAX + 2u)

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

void loam_usage_init(struct loam_usage *usage, struct loam_stock *nodes)
{
    LOAM_REQUIRE(nodes != NULL, "usage: no stock of nodes", 0, 0);
    __builtin_memset(usage, 0, sizeof(*usage)); /* the lock starts as zeroes */
    usage->nodes = nodes;
    usage->root = loam_phys_none();
    usage->leaves.partial = loam_phys_none();
    usage->inners.partial = loam_phys_none();
}

/* ---- insert -------------------------------------------------------------- */

/* Insert before the path's interval. */
static inline enum loam_status usage_insert_new_locked(struct loam_usage *usage,
                                                       struct usage_path *path,
                                                       const struct usage_entry *want)
    LOAM_NEEDS(usage->lock)
{
    LOAM_TRY(usage_make_room_locked(usage, path, 1));
    usage_insert_locked(usage, path, want);
    return LOAM_OK;
}

enum loam_status loam_usage_insert(struct loam_usage *usage, struct loam_phys_range range,
                                   enum loam_owner owner)
{
    struct usage_entry want;
    struct usage_path path;
    enum loam_status status = LOAM_OVERLAP;

    LOAM_TRY(usage_entry_of(range, owner, &want));
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    usage_seek_locked(usage, want.first, &path);
    if (!usage_has_entry(&path) || path.leaf->first[path.index] > want.last)
        status = usage_insert_new_locked(usage, &path, &want);
    loam_ticketlock_release_irq(&usage->lock, irq);
    return status;
}

/* The path's interval grows up to the end of the next one, which goes. */
static inline void usage_insert_between_locked(struct loam_usage *usage, struct usage_path *path,
                                               const struct usage_entry *next)
    LOAM_NEEDS(usage->lock)
{
    if (path->index + 1 < path->leaf->count) {
        usage_join_locked(usage, path);
        return;
    }
    struct usage_entry whole = usage_leaf_entry(path->leaf, path->index);
    whole.last = next->last;
    usage_remove_locked(usage, next->first, 1);
    usage_seek_locked(usage, whole.first, path);
    usage_set_locked(usage, path, &whole);
}

/* Insert; the path's interval ends right below what is wanted. */
static enum loam_status usage_insert_above_locked(struct loam_usage *usage, struct usage_path *path,
                                                  const struct usage_entry *want)
    LOAM_NEEDS(usage->lock)
{
    struct usage_entry next;
    struct usage_entry whole = usage_leaf_entry(path->leaf, path->index);
    const bool is_next = usage_peek_locked(usage, path, &next);
    const bool next_merges = is_next && next.owner == want->owner && next.first - 1 == want->last;

    if (is_next && next.first <= want->last)
        return LOAM_OVERLAP;
    if (whole.owner == want->owner) {
        whole.last = want->last;
        if (next_merges)
            usage_insert_between_locked(usage, path, &next);
        else
            usage_set_locked(usage, path, &whole);
        return LOAM_OK;
    }
    usage_step_locked(usage, path);
    if (!next_merges)
        return usage_insert_new_locked(usage, path, want);
    next.first = want->first;
    usage_set_locked(usage, path, &next);
    return LOAM_OK;
}

/* Insert; the path is at the first interval that ends right below or above. */
static inline enum loam_status usage_insert_merge_locked(struct loam_usage *usage,
                                                         struct usage_path *path,
                                                         const struct usage_entry *want)
    LOAM_NEEDS(usage->lock)
{
    if (!usage_has_entry(path))
        return usage_insert_new_locked(usage, path, want);
    struct usage_entry entry = usage_leaf_entry(path->leaf, path->index);
    if (entry.last < want->first)
        return usage_insert_above_locked(usage, path, want);
    if (entry.first <= want->last)
        return LOAM_OVERLAP;
    if (entry.owner != want->owner || entry.first - 1 != want->last)
        return usage_insert_new_locked(usage, path, want);
    entry.first = want->first;
    usage_set_locked(usage, path, &entry);
    return LOAM_OK;
}

enum loam_status loam_usage_insert_merge(struct loam_usage *usage, struct loam_phys_range range,
                                         enum loam_owner owner)
{
    struct usage_entry want;
    struct usage_path path;

    LOAM_TRY(usage_entry_of(range, owner, &want));
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    usage_seek_locked(usage, want.first > 0 ? want.first - 1 : 0, &path);
    const enum loam_status status = usage_insert_merge_locked(usage, &path, &want);
    loam_ticketlock_release_irq(&usage->lock, irq);
    return status;
}

/* ---- overwrite and cut --------------------------------------------------- */

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

/* The lowest interval that ends at or above @p from and starts at or below @p last. */
static inline bool usage_first_between(struct loam_usage *usage, uint64_t from, uint64_t last,
                                       struct loam_interval *out)
{
    struct usage_entry entry = { 0, 0, LOAM_OWNER_USABLE };

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    const bool found = usage_get_locked(usage, from, &entry);
    loam_ticketlock_release_irq(&usage->lock, irq);
    if (!found || entry.first > last)
        return false;
    *out = usage_interval_of(&entry);
    return true;
}

bool loam_usage_lookup(struct loam_usage *usage, loam_phys at, struct loam_interval *out)
{
    return usage_first_between(usage, at.addr, at.addr, out);
}

bool loam_usage_next(struct loam_usage *usage, loam_phys from, struct loam_interval *out)
{
    return usage_first_between(usage, from.addr, UINT64_MAX, out);
}

bool loam_usage_next_in(struct loam_usage *usage, struct loam_phys_range range, loam_phys from,
                        struct loam_interval *out)
{
    struct usage_entry in;

    if (usage_entry_of(range, LOAM_OWNER_USABLE, &in) != LOAM_OK || from.addr > in.last)
        return false;
    return usage_first_between(usage, from.addr > in.first ? from.addr : in.first, in.last, out);
}

size_t loam_usage_snapshot(struct loam_usage *usage, loam_phys from, struct loam_interval *out,
                           size_t capacity, uint64_t *existing)
{
    struct usage_path path;
    size_t count = 0;

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    usage_seek_locked(usage, from.addr, &path);
    for (; count < capacity && usage_has_entry(&path); usage_step_locked(usage, &path)) {
        const struct usage_entry entry = usage_leaf_entry(path.leaf, path.index);
        out[count++] = usage_interval_of(&entry);
    }
    if (existing != NULL)
        *existing = usage->interval_count;
    loam_ticketlock_release_irq(&usage->lock, irq);
    return count;
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

enum loam_status loam_usage_totals_in(struct loam_usage *usage, struct loam_phys_range range,
                                      struct loam_usage_totals *out)
{
    struct usage_entry in;
    struct usage_path path;

    LOAM_TRY(usage_entry_of(range, LOAM_OWNER_USABLE, &in)); /* no owner is asked for */
    __builtin_memset(out, 0, sizeof(*out));
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    usage_seek_locked(usage, in.first, &path);
    for (; usage_has_entry(&path); usage_step_locked(usage, &path)) {
        const struct usage_entry entry = usage_leaf_entry(path.leaf, path.index);
        if (entry.first > in.last)
            break;
        const uint64_t first = entry.first > in.first ? entry.first : in.first;
        const uint64_t last = entry.last < in.last ? entry.last : in.last;
        out->bytes[entry.owner] += last - first + 1;
        out->interval_count++;
    }
    loam_ticketlock_release_irq(&usage->lock, irq);
    return LOAM_OK;
}

/* ---- search -------------------------------------------------------------- */

static bool usage_is_request(const struct loam_usage_request *request)
{
    return request->size != 0 &&
           (request->align_bytes == 0 || loam_is_power_of_two(request->align_bytes));
}

/* Lowest place for a request in [first, last]; UINT64_MAX if there is none. */
static uint64_t usage_place_in(uint64_t first, uint64_t last,
                               const struct loam_usage_request *request)
{
    const uint64_t align_bytes = request->align_bytes != 0 ? request->align_bytes : 1;
    const uint64_t limit_last = request->limit - 1; /* no limit: the last byte there is */
    const uint64_t low = first > request->from ? first : request->from;
    const uint64_t top = last < limit_last ? last : limit_last;
    const uint64_t skip = -low & (align_bytes - 1);

    if (low > top || skip > top - low)
        return UINT64_MAX;
    const uint64_t start = low + skip;
    return request->size - 1 <= top - start ? start : UINT64_MAX;
}

/* To the next interval of this leaf, or the first of a leaf that holds what is
 * wanted. @return false: the path is at its leaf's end, and no such leaf follows */
static bool usage_next_candidate_locked(const struct loam_usage *usage, struct usage_path *path,
                                        struct usage_largest least) LOAM_NEEDS(usage->lock)
{
    path->index++;
    return path->index < path->leaf->count || usage_next_leaf_locked(usage, path, least);
}

loam_phys loam_usage_find(struct loam_usage *usage, const struct loam_usage_request *request)
{
    const uint64_t last = request->limit - 1; /* no limit: the last byte there is */
    const bool usable = request->owner == LOAM_OWNER_USABLE;
    const struct usage_largest least = { 0, usable ? request->size : 0 };
    uint64_t place = UINT64_MAX;
    struct usage_path path;

    if (!usage_is_request(request))
        return loam_phys_none();
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    usage_seek_locked(usage, request->from, &path);
    bool more = usage_has_entry(&path);
    while (more && place == UINT64_MAX) {
        const struct usage_entry entry = usage_leaf_entry(path.leaf, path.index);
        if (entry.owner == request->owner)
            place = usage_place_in(entry.first, entry.last, request);
        more = entry.first <= last && usage_next_candidate_locked(usage, &path, least);
    }
    loam_ticketlock_release_irq(&usage->lock, irq);
    return loam_phys_at(place); /* UINT64_MAX is "none" */
}

/* Place for a request above the highest interval. */
static uint64_t usage_place_above_all_locked(const struct loam_usage *usage,
                                             const struct loam_usage_request *request)
    LOAM_NEEDS(usage->lock)
{
    struct usage_path end;

    usage_seek_locked(usage, UINT64_MAX, &end);
    if (end.leaf == NULL)
        return usage_place_in(0, UINT64_MAX, request);
    if (usage_has_entry(&end)) /* the last byte there is has an owner */
        return UINT64_MAX;
    return usage_place_in(end.leaf->last[end.index - 1] + 1, UINT64_MAX, request);
}

loam_phys loam_usage_find_gap(struct loam_usage *usage, const struct loam_usage_request *request)
{
    const uint64_t last = request->limit - 1; /* no limit: the last byte there is */
    const struct usage_largest least = { request->size, 0 };
    uint64_t place = UINT64_MAX;
    uint64_t low = 0;
    struct usage_path path;

    if (!usage_is_request(request))
        return loam_phys_none();
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&usage->lock);
    usage_seek_locked(usage, request->from, &path);
    bool more = usage_has_entry(&path);
    while (more && place == UINT64_MAX && low <= last) {
        const uint64_t first = path.leaf->first[path.index];
        low = usage_entry_low_locked(usage, &path);
        if (first > low)
            place = usage_place_in(low, first - 1, request);
        more = usage_next_candidate_locked(usage, &path, least);
    }
    if (place == UINT64_MAX)
        place = usage_place_above_all_locked(usage, request);
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

const char *loam_usage_audit(const struct loam_usage *usage)
{
    struct usage_tally tally;
    const char *broken = NULL;

    __builtin_memset(&tally, 0, sizeof(tally));
    if ((broken = usage_audit_tree(usage, &tally)) != NULL ||
        (broken = usage_audit_pool(usage, &usage->leaves, usage_leaf_kind(), tally.leaf_count)) !=
            NULL ||
        (broken = usage_audit_pool(usage, &usage->inners, usage_inner_kind(), tally.inner_count)) !=
            NULL)
        return broken;
    return usage_audit_counts(usage, &tally);
}

uint64_t loam_usage_digest(const struct loam_usage *usage) LOAM_UNCHECKED
{
    uint64_t digest = loam_digest_add(LOAM_DIGEST_START, usage->interval_count);
    struct usage_path path;

    usage_seek_locked(usage, 0, &path);
    for (; usage_has_entry(&path); usage_step_locked(usage, &path)) {
        const struct usage_entry entry = usage_leaf_entry(path.leaf, path.index);
        digest = loam_digest_add(digest, entry.first);
        digest = loam_digest_add(digest, entry.last);
        digest = loam_digest_add(digest, (uint64_t)entry.owner);
    }
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++) {
        digest = loam_digest_add(digest, usage->total_bytes[owner]);
        digest = loam_digest_add(digest, usage->owner_count[owner]);
    }
    return digest;
}
