/*
 * books.c - see books.h.
 *
 * Who may have a frame is decided by mm->frame alone; then it is written down. So
 * there is nothing to search under mm->books, which is held only where a range is
 * looked up and changed. Page tables and usage nodes come from two stocks that are
 * filled with single frames, counted and not recorded: keeping books needs no books.
 */
#include <loam/loam.h>

#include <stdatomic.h>

#include "internal/books.h"
#include "internal/check.h"
#include "internal/inject.h"
#include "internal/try.h"

#define BOOKS_BATCH     32u                    /* frames moved at once, on the stack */
#define BOOKS_NODES     (LOAM_SPARE_NODES / 2) /* enough for any one change */
#define BOOKS_TRIES     64u                    /* at a free frame whose block is at work */
#define BOOKS_FOREIGN   "loam: range given back is not its owner's"
#define BOOKS_UNCOVERED "loam: frames given back for an owner who has none"

/* Owners that are the kernel's to name. Those of the library's own memory are not: what
 * is charged to them is what the layers have. */
static bool books_serves(enum loam_owner owner)
{
    return (unsigned)owner < LOAM_OWNERS && owner != LOAM_OWNER_USABLE &&
           owner != LOAM_OWNER_PAGE_TABLES && owner != LOAM_OWNER_HEAP &&
           owner != LOAM_OWNER_METADATA;
}

/* ---- shortage -------------------------------------------------------------- */

enum loam_status loam_set_pressure(struct loam *mm, const struct loam_pressure_hooks *hooks)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    loam_pressure_init(&mm->pressure, hooks);
    mm->pressure_interval = /* each CPU counts what it takes for each owner apart */
        loam_pressure_interval(&mm->pressure, mm->ledger.line_count * LOAM_OWNERS);
    return LOAM_OK;
}

static struct loam_pressure_report books_report(struct loam *mm, enum loam_zone zone,
                                                uint64_t page_count, unsigned attempt)
{
    const struct loam_pressure_report report = {
        .zone = zone,
        .wanted_pages = page_count,
        .free_pages = loam_owner_bytes(mm, LOAM_OWNER_USABLE) / LOAM_PAGE_SIZE,
        .attempt = attempt,
    };
    return report;
}

/* A request has failed: is it worth another try? No lock is held. */
bool loam_books_relieve(struct loam *mm, enum loam_zone zone, uint64_t page_count,
                        struct books_try *tried)
{
    if (!tried->is_drained) {
        tried->is_drained = true;
        if (loam_zero_drain(&mm->zeroed) != 0)
            return true;
    }
    if (mm->pressure.hooks.relieve == NULL)
        return false;
    const struct loam_pressure_report report = books_report(mm, zone, page_count, tried->attempt++);
    return loam_pressure_relieve(&mm->pressure, &report);
}

void loam_books_notice(struct loam *mm, enum loam_zone zone, uint64_t page_count)
{
    const struct loam_pressure_report report = books_report(mm, zone, page_count, 0);

    loam_pressure_notice(&mm->pressure, &report);
}

bool loam_books_count(struct loam *mm, enum loam_owner owner, uint64_t page_count)
{
    const uint64_t before = loam_ledger_add(&mm->ledger, owner, page_count);
    const uint64_t interval = mm->pressure_interval;

    return interval != 0 && ((before + page_count) ^ before) >= interval;
}

/* Count frames that were taken; now and then, look how many are left. */
static void books_charge(struct loam *mm, enum loam_zone zone, enum loam_owner owner,
                         uint64_t page_count)
{
    if (loam_books_count(mm, owner, page_count))
        loam_books_notice(mm, zone, page_count);
}

/* ---- single frames --------------------------------------------------------- */

/* As many as there are; also with mm->books held. */
static size_t books_take_bulk(struct loam *mm, enum loam_zone zone, enum loam_owner owner,
                              loam_phys *out, size_t count)
{
    size_t taken = loam_frame_alloc_bulk(&mm->frame, zone, out, count);

    if (taken < count && loam_zero_drain(&mm->zeroed) != 0)
        taken += loam_frame_alloc_bulk(&mm->frame, zone, out + taken, count - taken);
    if (taken != 0)
        (void)loam_ledger_add(&mm->ledger, owner, taken);
    return taken;
}

/* Strike frames off, before they are free. */
static void books_strike(struct loam *mm, loam_phys frame, enum loam_owner owner, uint64_t count)
{
    const bool is_covered = loam_ledger_sub(&mm->ledger, owner, count);

    LOAM_REQUIRE(is_covered, BOOKS_UNCOVERED, frame.addr, count);
}

static void books_require_ready(struct loam *mm, loam_phys frame, enum loam_owner owner)
{
    LOAM_REQUIRE(loam_once_is_ready(&mm->once), "loam: frames given back before loam_init()",
                 frame.addr, 0);
    LOAM_REQUIRE(books_serves(owner), "loam: frames given back for an owner that is none",
                 frame.addr, (unsigned)owner);
}

/* A block, zeroed or with whatever is in it. */
static loam_phys books_take(struct loam *mm, unsigned order, enum loam_zone zone,
                            enum loam_owner owner, bool is_zeroed)
{
    struct books_try tried = { false, 0 };
    loam_phys block;

    if (!loam_once_is_ready(&mm->once) || !books_serves(owner) || order > LOAM_ORDER_MAX)
        return loam_phys_none();
    do { /* ends: a bounded number of attempts */
        block = is_zeroed ? loam_zero_alloc(&mm->zeroed, order, zone)
                          : loam_frame_alloc(&mm->frame, order, zone);
    } while (loam_phys_is_none(block) &&
             loam_books_relieve(mm, zone, UINT64_C(1) << order, &tried));
    if (!loam_phys_is_none(block))
        books_charge(mm, zone, owner, UINT64_C(1) << order);
    return block;
}

loam_phys loam_take_frames(struct loam *mm, unsigned order, enum loam_zone zone,
                           enum loam_owner owner)
{
    return books_take(mm, order, zone, owner, false);
}

loam_phys loam_take_zeroed(struct loam *mm, unsigned order, enum loam_zone zone,
                           enum loam_owner owner)
{
    return books_take(mm, order, zone, owner, true);
}

size_t loam_take_bulk(struct loam *mm, enum loam_zone zone, enum loam_owner owner, loam_phys *out,
                      size_t count)
{
    size_t taken = 0;
    struct books_try tried = { false, 0 };

    if (!loam_once_is_ready(&mm->once) || !books_serves(owner))
        return 0;
    do { /* ends: a bounded number of attempts */
        taken += loam_frame_alloc_bulk(&mm->frame, zone, out + taken, count - taken);
    } while (taken < count && loam_books_relieve(mm, zone, count - taken, &tried));
    if (taken != 0)
        books_charge(mm, zone, owner, taken);
    return taken;
}

/* ---- stocks ---------------------------------------------------------------- */

/* Add up to @p count frames to a stock. @return how many */
uint64_t loam_books_refill(struct loam *mm, struct loam_stock *stock, enum loam_owner owner,
                           uint64_t count)
{
    loam_phys frame[BOOKS_BATCH];
    uint64_t added = 0;

    while (added < count) {
        const size_t wanted = count - added < BOOKS_BATCH ? (size_t)(count - added) : BOOKS_BATCH;
        const size_t taken = books_take_bulk(mm, LOAM_ZONE_ANY, owner, frame, wanted);
        for (size_t i = 0; i < taken; i++)
            loam_stock_add(stock, loam_phys_range_of(frame[i], LOAM_PAGE_SIZE));
        added += taken;
        if (taken < wanted)
            break;
    }
    return added;
}

/* Give frames of a stock back until a level is reached. Most are counted, but one that
 * early handed out is recorded: what no node can be had for stays in the stock. */
void loam_books_trim(struct loam *mm, struct loam_stock *stock, enum loam_owner owner,
                     uint64_t level)
{
    while (loam_stock_level(stock) > level) {
        struct loam_interval interval = { .owner = LOAM_OWNER_USABLE };
        const loam_phys frame = loam_stock_remove(stock);
        if (loam_phys_is_none(frame))
            break;
        const struct loam_phys_range range = loam_phys_range_of(frame, LOAM_PAGE_SIZE);
        if (!loam_usage_lookup(&mm->usage, frame, &interval) || interval.owner != owner) {
            books_strike(mm, frame, owner, 1);
        } else if (loam_usage_overwrite(&mm->usage, range, LOAM_OWNER_USABLE) != LOAM_OK) {
            loam_stock_add(stock, range);
            break;
        }
        loam_frame_free(&mm->frame, frame, 0);
    }
}

/* Have nodes for a change of the usage map. Best effort: what then fails for want of one
 * says so. @return frames added */
static uint64_t books_refill_nodes(struct loam *mm)
{
    const uint64_t level = loam_stock_level(&mm->nodes);

    if (level >= BOOKS_NODES)
        return 0;
    return loam_books_refill(mm, &mm->nodes, LOAM_OWNER_METADATA, BOOKS_NODES - level);
}

/* Record an owner. On failure the nodes that it was tried with go back, too. */
enum loam_status loam_books_record(struct loam *mm, struct loam_phys_range range,
                                   enum loam_owner owner)
{
    const uint64_t added = books_refill_nodes(mm);
    const enum loam_status st = loam_usage_overwrite(&mm->usage, range, owner);
    const uint64_t level = loam_stock_level(&mm->nodes);

    if (st != LOAM_OK)
        loam_books_trim(mm, &mm->nodes, LOAM_OWNER_METADATA, level > added ? level - added : 0);
    else if (level > UINT64_C(2) * LOAM_SPARE_NODES + mm->memmap.entry_count / 32)
        loam_books_trim(mm, &mm->nodes, LOAM_OWNER_METADATA, LOAM_SPARE_NODES);
    return st;
}

/* ---- frames that are bad ---------------------------------------------------- */

/* The lowest frame of [from, end) that waits to be retired, or NULL. */
static loam_phys *books_retiring(struct loam *mm, uint64_t from, uint64_t end) LOAM_NEEDS(mm->books)
{
    const unsigned count = atomic_load(&mm->retire_count);
    loam_phys *found = NULL;

    for (loam_phys *at = mm->retire; at < mm->retire + count; at++)
        if (at->addr >= from && at->addr < end && (found == NULL || at->addr < found->addr))
            found = at;
    return found;
}

/* Charge a frame that is in use, in a range that is USABLE, and nobody's: in the usage map
 * or, if there is no node, in the ledger. */
static void books_condemn(struct loam *mm, loam_phys frame) LOAM_NEEDS(mm->books)
{
    if (loam_books_record(mm, loam_phys_range_of(frame, LOAM_PAGE_SIZE), LOAM_OWNER_BAD) != LOAM_OK)
        (void)loam_ledger_add(&mm->ledger, LOAM_OWNER_BAD, 1);
}

/* Free a range that is USABLE by now, but for what is to be retired. */
static void books_release(struct loam *mm, struct loam_phys_range range) LOAM_NEEDS(mm->books)
{
    const uint64_t end = range.start.addr + range.size;
    uint64_t at = range.start.addr;
    loam_phys *found;

    while ((found = books_retiring(mm, at, end)) != NULL) {
        const loam_phys bad = *found;
        *found = mm->retire[atomic_fetch_sub(&mm->retire_count, 1) - 1];
        books_condemn(mm, bad);
        if (bad.addr != at)
            loam_frame_release(&mm->frame, loam_phys_range_of(loam_phys_at(at), bad.addr - at));
        at = bad.addr + LOAM_PAGE_SIZE;
    }
    if (at != end)
        loam_frame_release(&mm->frame, loam_phys_range_of(loam_phys_at(at), end - at));
}

/* Frames that were to be retired when they are given back may have become free since: taken
 * for used a moment before, or given back by the library itself. */
void loam_books_retire_free(struct loam *mm)
{
    if (atomic_load(&mm->retire_count) == 0)
        return;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    for (unsigned i = 0; i < atomic_load(&mm->retire_count);) {
        const loam_phys bad = mm->retire[i];
        if (loam_frame_reserve(&mm->frame, loam_phys_range_of(bad, LOAM_PAGE_SIZE)) != LOAM_OK) {
            i++;
            continue;
        }
        mm->retire[i] = mm->retire[atomic_fetch_sub(&mm->retire_count, 1) - 1];
        books_condemn(mm, bad);
    }
    loam_ticketlock_release_irq(&mm->books, irq);
}

/* Free frames that were struck off the ledger, but for what is to be retired. */
static void books_free(struct loam *mm, loam_phys block, unsigned order)
{
    const bool is_block = order <= LOAM_ORDER_MAX && block.addr % loam_order_bytes(order) == 0;

    if (atomic_load(&mm->retire_count) == 0 || !is_block) {
        loam_frame_free(&mm->frame, block, order);
        loam_books_retire_free(mm);
        return;
    }
    const struct loam_phys_range range = loam_phys_range_of(block, loam_order_bytes(order));
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    if (books_retiring(mm, block.addr, block.addr + range.size) != NULL)
        books_release(mm, range);
    else
        loam_frame_free(&mm->frame, block, order);
    loam_ticketlock_release_irq(&mm->books, irq);
}

void loam_books_return(struct loam *mm, struct loam_phys_range range, enum loam_owner owner)
{
    const uint64_t page_count = range.size / LOAM_PAGE_SIZE;

    books_strike(mm, range.start, owner, page_count);
    if (loam_is_power_of_two(page_count) && range.size <= loam_order_bytes(LOAM_ORDER_MAX) &&
        (range.start.addr & (range.size - 1)) == 0) {
        books_free(mm, range.start, (unsigned)__builtin_ctzll(page_count));
        return;
    }
    if (atomic_load(&mm->retire_count) == 0) {
        loam_frame_release(&mm->frame, range);
        loam_books_retire_free(mm);
        return;
    }
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    books_release(mm, range);
    loam_ticketlock_release_irq(&mm->books, irq);
}

void loam_give_frames(struct loam *mm, loam_phys block, unsigned order, enum loam_owner owner)
{
    books_require_ready(mm, block, owner);
    LOAM_CHECK_IF(LOAM_CHECK >= 2, order != 0 || !loam_zero_has(&mm->zeroed, block),
                  "loam: frame given back is free, and zeroed", block.addr, 0);
    if (order <= LOAM_ORDER_MAX) /* else the next call names the rule */
        books_strike(mm, block, owner, UINT64_C(1) << order);
    books_free(mm, block, order);
}

void loam_give_bulk(struct loam *mm, enum loam_owner owner, const loam_phys *frame, size_t count)
{
    if (count == 0)
        return;
    books_require_ready(mm, frame[0], owner);
    books_strike(mm, frame[0], owner, count);
    for (size_t i = 0; i < count; i++)
        books_free(mm, frame[i], 0);
}

/* Is it a frame that the library keeps for good, or that is retired? */
static enum loam_status books_may_retire(struct loam *mm, loam_phys frame) LOAM_NEEDS(mm->books)
{
    struct loam_interval interval = { .owner = LOAM_OWNER_USABLE };

    if (!loam_usage_lookup(&mm->usage, frame, &interval))
        return LOAM_NOT_FOUND;
    if (interval.owner == LOAM_OWNER_BAD ||
        books_retiring(mm, frame.addr, frame.addr + LOAM_PAGE_SIZE) != NULL)
        return LOAM_STATE;
    return interval.owner == LOAM_OWNER_USABLE || interval.owner == LOAM_OWNER_BOOTLOADER ||
                   books_serves(interval.owner)
               ? LOAM_OK
               : LOAM_UNSUPPORTED;
}

static enum loam_status retire_locked(struct loam *mm, loam_phys frame) LOAM_NEEDS(mm->books)
{
    const struct loam_phys_range page = loam_phys_range_of(frame, LOAM_PAGE_SIZE);
    const unsigned count = atomic_load(&mm->retire_count);

    if (!loam_is_page_aligned(frame.addr))
        return LOAM_INVALID;
    if (!loam_frame_has(&mm->frame, page))
        return LOAM_NOT_FOUND;
    LOAM_TRY(books_may_retire(mm, frame));
    if (count == LOAM_RETIRE_MAX)
        return LOAM_NO_SPACE;
    mm->retire[count] = frame;
    atomic_store(&mm->retire_count, count + 1); /* before the look: who frees it later sees it */
    for (unsigned tries = 0; tries < BOOKS_TRIES; tries++) { /* its block may be at work */
        const enum loam_status st = loam_frame_reserve(&mm->frame, page);
        if (st == LOAM_OK) {
            atomic_store(&mm->retire_count, count);
            books_condemn(mm, frame);
            return LOAM_OK;
        }
        if (loam_frame_free_in(&mm->frame, page) == 0)
            break;
    }
    return LOAM_OVERLAP;
}

enum loam_status loam_retire(struct loam *mm, loam_phys frame)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    (void)loam_zero_drain(&mm->zeroed);
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    const enum loam_status st = retire_locked(mm, frame);
    loam_ticketlock_release_irq(&mm->books, irq);
    return st;
}

size_t loam_idle(struct loam *mm, size_t most)
{
    if (!loam_once_is_ready(&mm->once))
        return 0;
    loam_books_retire_free(mm);
    return loam_zero_refill(&mm->zeroed, most);
}

/* ---- ranges ---------------------------------------------------------------- */

/* A block that serves a request, in constant time; none: it is not so simple, or there is
 * no such block. */
static loam_phys books_take_block(struct loam *mm, const struct loam_frame_request *request)
{
    const uint64_t size = request->page_count * LOAM_PAGE_SIZE;
    enum loam_zone zone = LOAM_ZONE_ANY;

    if (!loam_is_power_of_two(request->page_count) || size > loam_order_bytes(LOAM_ORDER_2M) ||
        request->align_bytes > size || request->from != 0)
        return loam_phys_none();
    if (request->limit == LOAM_ZONE_4G_END)
        zone = LOAM_ZONE_4G;
    else if (request->limit == LOAM_ZONE_16M_END)
        zone = LOAM_ZONE_16M;
    else if (request->limit != 0)
        return loam_phys_none();
    return loam_frame_alloc(&mm->frame, (unsigned)__builtin_ctzll(request->page_count), zone);
}

/* Which zone a limit stands for, for reports. */
static enum loam_zone books_zone_of(const struct loam_frame_request *request)
{
    return request->limit == 0 ? LOAM_ZONE_ANY : loam_zone_of(loam_phys_at(request->limit - 1));
}

static enum loam_status books_take_range(struct loam *mm, const struct loam_frame_request *request,
                                         loam_phys *out)
{
    const enum loam_zone zone = books_zone_of(request);
    enum loam_status st = LOAM_OK;
    struct books_try tried = { false, 0 };

    do { /* ends: a bounded number of attempts */
        *out = books_take_block(mm, request);
        st = loam_phys_is_none(*out) ? loam_frame_alloc_range(&mm->frame, request, out) : LOAM_OK;
    } while (st != LOAM_OK && loam_books_relieve(mm, zone, request->page_count, &tried));
    return st;
}

static bool books_is_well_formed(const struct loam_frame_request *request)
{
    const uint64_t size = request->page_count * LOAM_PAGE_SIZE;

    return request->page_count != 0 && request->page_count <= UINT64_MAX / LOAM_PAGE_SIZE &&
           (request->align_bytes == 0 || loam_is_power_of_two(request->align_bytes)) &&
           (request->boundary_bytes == 0 ||
            (loam_is_power_of_two(request->boundary_bytes) && request->boundary_bytes >= size)) &&
           (request->limit == 0 || request->from <= request->limit);
}

enum loam_status loam_take(struct loam *mm, const struct loam_frame_request *request,
                           enum loam_owner owner, struct loam_phys_range *out)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (!books_is_well_formed(request) || !books_serves(owner))
        return LOAM_INVALID;
    loam_phys start;
    LOAM_TRY(books_take_range(mm, request, &start));
    const struct loam_phys_range range =
        loam_phys_range_of(start, request->page_count * LOAM_PAGE_SIZE);

    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    const enum loam_status st = loam_books_record(mm, range, owner);
    loam_ticketlock_release_irq(&mm->books, irq);
    if (st != LOAM_OK) {
        loam_frame_release(&mm->frame, range);
        return st;
    }
    if (mm->pressure_interval != 0)
        loam_books_notice(mm, books_zone_of(request), request->page_count);
    *out = range;
    return LOAM_OK;
}

/* Is every byte of the range charged to the owner? */
static bool is_owned_by(struct loam *mm, struct loam_phys_range range, enum loam_owner owner)
{
    const uint64_t last = range.start.addr + (range.size - 1);
    struct loam_interval interval;
    for (uint64_t at = range.start.addr;;) {
        if (!loam_usage_lookup(&mm->usage, loam_phys_at(at), &interval) || interval.owner != owner)
            return false;
        const uint64_t end = interval.range.start.addr + (interval.range.size - 1);
        if (end >= last)
            return true;
        at = end + 1;
    }
}

enum loam_status loam_give(struct loam *mm, struct loam_phys_range range, enum loam_owner owner)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (range.size == 0 || !loam_is_page_aligned(range.start.addr | range.size) ||
        !loam_range_fits(range.start.addr, range.size) || (unsigned)owner >= LOAM_OWNERS)
        return LOAM_INVALID;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    LOAM_REQUIRE(books_serves(owner) && is_owned_by(mm, range, owner), BOOKS_FOREIGN,
                 range.start.addr, range.size);
    const enum loam_status st = loam_frame_has(&mm->frame, range)
                                    ? loam_books_record(mm, range, LOAM_OWNER_USABLE)
                                    : LOAM_NOT_FOUND;
    const bool is_plain = atomic_load(&mm->retire_count) == 0;
    if (st == LOAM_OK && !is_plain)
        books_release(mm, range);
    loam_ticketlock_release_irq(&mm->books, irq);
    if (st == LOAM_OK && is_plain) {
        loam_frame_release(&mm->frame, range);
        loam_books_retire_free(mm);
    }
    return st;
}

/* ---- the bootloader's memory ------------------------------------------------- */

/* One interval of it, or frame 0 of one that begins there. @param at where to go on */
static enum loam_status reclaim_interval_locked(struct loam *mm, struct loam_phys_range range,
                                                uint64_t *bytes, loam_phys *at)
    LOAM_NEEDS(mm->books)
{
    if (range.start.addr == 0)
        range.size = LOAM_PAGE_SIZE;
    const bool is_managed = loam_frame_has(&mm->frame, range);
    LOAM_TRY(loam_books_record(mm, range, is_managed ? LOAM_OWNER_USABLE : LOAM_OWNER_RESERVED));
    if (is_managed) {
        books_release(mm, range);
        *bytes += range.size;
    }
    *at = loam_phys_at(range.start.addr + range.size);
    return LOAM_OK;
}

static enum loam_status reclaim_locked(struct loam *mm, uint64_t *bytes) LOAM_NEEDS(mm->books)
{
    struct loam_interval interval;
    loam_phys at = loam_phys_at(0);
    while (loam_usage_next(&mm->usage, at, &interval)) {
        if (interval.owner == LOAM_OWNER_BOOTLOADER)
            LOAM_TRY(reclaim_interval_locked(mm, interval.range, bytes, &at));
        else if (!loam_interval_end(&interval, &at))
            break;
    }
    mm->reclaimed = true;
    return LOAM_OK;
}

enum loam_status loam_reclaim(struct loam *mm, uint64_t *bytes)
{
    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    *bytes = 0;
    const loam_irq_state irq = loam_ticketlock_acquire_irq(&mm->books);
    const enum loam_status st = mm->reclaimed ? LOAM_STATE : reclaim_locked(mm, bytes);
    loam_ticketlock_release_irq(&mm->books, irq);
    return st;
}
