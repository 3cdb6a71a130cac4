/*
 * vmap.c - see vmap.h.
 *
 * To allocate is to find addresses, to hold frames there, some at a time, and to publish
 * them all at once; whatever fails on the way, nothing was ever mapped, so that what was
 * held is collected and the addresses are cancelled without a flush. To free is only to
 * let the range wait. Frames and page tables come by way of the books, which refill the
 * stocks; no lock is held here.
 */
#include <loam/loam.h>
#include <loam/x86.h>

#include "internal/books.h"
#include "internal/check.h"
#include "internal/try.h"
#include "internal/vmap.h"

#define VMAP_TRIES   64u /* at addresses that another CPU is purging */
#define VMAP_NODES   2u  /* spare frames for records that are kept */
#define VMAP_SIZE_1G (LOAM_PAGE_SIZE << LOAM_ORDER_1G)

/* ---- addresses ----------------------------------------------------------- */

static uint64_t vmap_pages_of(uint64_t bytes)
{
    return bytes / LOAM_PAGE_SIZE + !loam_is_page_aligned(bytes);
}

static enum loam_vmap_kind vmap_kind_of(const struct loam_vrange_info *info)
{
    return (enum loam_vmap_kind)info->tag;
}

/* Addresses; the stock of records is refilled, and what waits purged, as needed. */
static enum loam_status vmap_find_place(struct loam *mm, const struct loam_vrange_request *request,
                                        loam_virt *out)
{
    enum loam_status status = loam_vrange_alloc(&mm->vmap.ranges, request, out);

    for (unsigned i = 0; i < VMAP_TRIES; i++) {
        if (status == LOAM_NO_MEMORY) {
            if (loam_books_refill(mm, &mm->vmap.nodes, LOAM_OWNER_METADATA, 1) == 0 &&
                !loam_vmap_purge(mm))
                return status;
        } else if (status != LOAM_STATE) {
            return status;
        } else if (!loam_vmap_purge(mm)) {
            loam_x86_pause(); /* another CPU is at it */
        }
        status = loam_vrange_alloc(&mm->vmap.ranges, request, out);
    }
    return status == LOAM_STATE ? LOAM_NO_SPACE : status;
}

static void vmap_trim_nodes(struct loam *mm, uint64_t level)
{
    loam_books_trim(mm, &mm->vmap.nodes, LOAM_OWNER_METADATA, level);
}

/* Attributes that memory of the kernel's half may have. */
static bool vmap_is_kernel_attr(struct loam_attr attr)
{
    const loam_prot known = LOAM_PROT_WRITE | LOAM_PROT_EXEC | LOAM_PROT_GLOBAL;

    return (attr.prot & ~known) == 0 &&
           (attr.prot & (LOAM_PROT_WRITE | LOAM_PROT_EXEC)) != (LOAM_PROT_WRITE | LOAM_PROT_EXEC) &&
           (unsigned)attr.cache < LOAM_CACHES;
}

static enum loam_status vmap_request_of(const struct loam_vmap_request *request,
                                        enum loam_vmap_kind kind, struct loam_vrange_request *out)
{
    const uint64_t guard = request->guard_pages != 0 ? request->guard_pages : LOAM_VMAP_GUARD_PAGES;
    const struct loam_vrange_request place = {
        .page_count = vmap_pages_of(request->size_bytes),
        .guard_before = guard,
        .guard_after = guard,
        .align_bytes = request->align_bytes,
        .dice = request->dice,
        .name = request->name,
        .tag = (uint16_t)kind,
    };

    if (request->size_bytes == 0 || !vmap_is_kernel_attr(request->attr))
        return LOAM_INVALID;
    *out = place;
    return LOAM_OK;
}

/* Addresses with memory or a device behind them. @param phys none: memory */
static enum loam_status vmap_make(struct loam *mm, const struct loam_vrange_request *place,
                                  loam_phys phys, const struct loam_vmap_request *request,
                                  loam_virt *out)
{
    const uint64_t level = loam_stock_level(&mm->vmap.nodes);
    struct vmap_edit map = { .phys = phys, .attr = request->attr };
    loam_virt at;
    enum loam_status status = vmap_find_place(mm, place, &at);

    if (status != LOAM_OK) {
        vmap_trim_nodes(mm, level);
        return status;
    }
    map.virt = loam_virt_range_of(at, place->page_count << LOAM_PAGE_SHIFT);
    map.attr.prot |= LOAM_PROT_GLOBAL;
    if (loam_phys_is_none(phys)) {
        const struct vmap_fill fill = { request->is_zeroed, true };
        status = loam_vmap_fill(mm, map.virt, map.attr, &fill);
    } else {
        status = loam_vmap_change(mm, &map);
    }
    if (status != LOAM_OK) {
        loam_vrange_cancel(&mm->vmap.ranges, map.virt);
        vmap_trim_nodes(mm, level);
        return status;
    }
    *out = at;
    return LOAM_OK;
}

/* ---- free ---------------------------------------------------------------- */

/* What a caller frees; anything else panics. */
static struct loam_virt_range vmap_freed(struct loam *mm, loam_virt at, enum loam_vmap_kind kind)
{
    struct loam_vrange_info info;
    const enum loam_vrange_place place = loam_vrange_lookup(&mm->vmap.ranges, at, &info);

    LOAM_REQUIRE(place == LOAM_VRANGE_IN_RANGE && at.addr == info.range.start.addr,
                 "vmap: nothing begins here", at.addr, 0);
    LOAM_REQUIRE(info.state == LOAM_VRANGE_USED, "vmap: freed twice", at.addr, info.range.size);
    const enum loam_vmap_kind is = vmap_kind_of(&info);
    LOAM_REQUIRE(is == kind, "vmap: freed as something else", at.addr, (unsigned)is);
    return info.range;
}

static void vmap_let_wait(struct loam *mm, struct loam_virt_range range)
{
    loam_vrange_free(&mm->vmap.ranges, range);
    if (loam_vrange_is_purge_due(&mm->vmap.ranges))
        (void)loam_vmap_purge(mm);
}

/* Unmap what waits. Memory stays recorded until every CPU has forgotten it. */
static void vmap_unmap_all(struct loam *mm, struct loam_vrange_batch *waiting)
{
    struct loam_space_batch batch;
    struct loam_vrange_info info;

    loam_space_batch_begin(&batch, &mm->space);
    while (loam_vrange_purge_next(waiting, &info)) {
        const enum loam_status status = vmap_kind_of(&info) == LOAM_VMAP_DEVICE
                                            ? loam_space_batch_unmap(&batch, info.range)
                                            : loam_space_batch_detach(&batch, info.range);
        LOAM_REQUIRE(status == LOAM_OK, "vmap: not mapped as it was", info.range.start.addr,
                     info.range.size);
    }
    loam_space_batch_finish(&batch);
}

static void vmap_collect_all(struct loam *mm, struct loam_vrange_batch *waiting)
{
    struct loam_space_batch batch;
    struct loam_vrange_info info;

    loam_space_batch_begin(&batch, &mm->space);
    while (loam_vrange_purge_next(waiting, &info)) {
        if (vmap_kind_of(&info) != LOAM_VMAP_DEVICE)
            loam_vmap_collect(mm, &batch, info.range);
    }
    loam_space_batch_finish(&batch);
}

bool loam_vmap_purge(struct loam *mm)
{
    struct loam_vrange_batch waiting;

    if (!loam_once_is_ready(&mm->once) || !loam_vrange_purge_begin(&mm->vmap.ranges, &waiting))
        return false;
    vmap_unmap_all(mm, &waiting);
    vmap_collect_all(mm, &waiting);
    loam_vrange_purge_end(&waiting);
    loam_books_trim_tables(mm);
    vmap_trim_nodes(mm, VMAP_NODES);
    return true;
}

/* ---- memory and stacks --------------------------------------------------- */

enum loam_status loam_vmap_alloc(struct loam *mm, const struct loam_vmap_request *request,
                                 loam_virt *out)
{
    struct loam_vrange_request place;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    LOAM_TRY(vmap_request_of(request, LOAM_VMAP_MEMORY, &place));
    if (place.page_count >= VMAP_PAGES_2M && (place.align_bytes & (place.align_bytes - 1)) == 0 &&
        place.align_bytes < VMAP_SIZE_2M) {
        struct loam_vrange_request aligned = place;
        aligned.align_bytes = VMAP_SIZE_2M;
        const enum loam_status status = vmap_make(mm, &aligned, loam_phys_none(), request, out);
        if (status != LOAM_NO_SPACE)
            return status;
    }
    return vmap_make(mm, &place, loam_phys_none(), request, out);
}

void loam_vmap_free(struct loam *mm, loam_virt at)
{
    vmap_let_wait(mm, vmap_freed(mm, at, LOAM_VMAP_MEMORY));
}

enum loam_status loam_vmap_stack(struct loam *mm, uint64_t size_bytes, const char *name,
                                 struct loam_virt_range *out)
{
    const struct loam_vmap_request request = {
        .size_bytes = size_bytes,
        .attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB },
        .name = name,
    };
    struct loam_vrange_request place;
    loam_virt at;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (!loam_is_page_aligned(size_bytes))
        return LOAM_INVALID;
    LOAM_TRY(vmap_request_of(&request, LOAM_VMAP_STACK, &place));
    LOAM_TRY(vmap_make(mm, &place, loam_phys_none(), &request, &at));
    *out = loam_virt_range_of(at, size_bytes);
    return LOAM_OK;
}

void loam_vmap_stack_free(struct loam *mm, loam_virt at)
{
    const struct loam_virt_range stack = vmap_freed(mm, at, LOAM_VMAP_STACK);
    const uint64_t here = loam_virt_of(__builtin_frame_address(0)).addr;

    LOAM_REQUIRE(here - stack.start.addr >= stack.size, "vmap: stack is in use", at.addr, here);
    vmap_let_wait(mm, stack);
}

/* ---- devices ------------------------------------------------------------- */

/* May what an owner has be mapped as a device's, cached like this? */
static bool vmap_is_device(enum loam_owner owner, enum loam_cache cache)
{
    const bool is_like_ram = cache == LOAM_CACHE_WB || cache == LOAM_CACHE_WP;

    const bool is_firmware = owner == LOAM_OWNER_ACPI_RECLAIMABLE || owner == LOAM_OWNER_ACPI_NVS ||
                             owner == LOAM_OWNER_RESERVED_MAPPED;

    return owner == LOAM_OWNER_RESERVED || (owner == LOAM_OWNER_FRAMEBUFFER && !is_like_ram) ||
           (is_firmware && is_like_ram);
}

/* The same of a range, where what is nobody's is a device's. */
static bool vmap_is_all_device(struct loam *mm, struct loam_phys_range range, enum loam_cache cache)
{
    const bool is_like_ram = cache == LOAM_CACHE_WB || cache == LOAM_CACHE_WP;
    struct loam_interval interval;
    loam_phys at = range.start;

    for (;;) { /* ends: at increases */
        const bool any = loam_usage_next(&mm->usage, at, &interval) &&
                         interval.range.start.addr <= range.start.addr + (range.size - 1);
        const bool is_gap = !any || interval.range.start.addr > at.addr;
        if (is_gap && is_like_ram)
            return false;
        if (!any)
            return true;
        if (!vmap_is_device(interval.owner, cache))
            return false;
        if (!loam_interval_end(&interval, &at) || at.addr - range.start.addr >= range.size)
            return true;
    }
}

/* Where large pages fit, addresses that they fit at, too. */
static uint64_t vmap_device_align(struct loam_phys_range pages)
{
    if (pages.size >= VMAP_SIZE_1G && pages.start.addr % VMAP_SIZE_1G == 0)
        return VMAP_SIZE_1G;
    if (pages.size >= VMAP_SIZE_2M && pages.start.addr % VMAP_SIZE_2M == 0)
        return VMAP_SIZE_2M;
    return LOAM_PAGE_SIZE;
}

enum loam_status loam_vmap_device(struct loam *mm, struct loam_phys_range range,
                                  enum loam_cache cache, const char *name, loam_virt *out)
{
    const uint64_t inside = range.start.addr & (LOAM_PAGE_SIZE - 1);
    struct loam_vmap_request request = { .attr = { LOAM_PROT_WRITE, cache }, .name = name };
    struct loam_vrange_request place;
    loam_virt at;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (range.size == 0 || !loam_range_fits(range.start.addr, range.size) ||
        (range.start.addr + (range.size - 1)) >> mm->features.phys_bits != 0)
        return LOAM_INVALID;
    const struct loam_phys_range pages =
        loam_phys_range_of(loam_phys_at(range.start.addr - inside),
                           vmap_pages_of(inside + range.size) << LOAM_PAGE_SHIFT);
    request.size_bytes = pages.size;
    request.align_bytes = vmap_device_align(pages);
    LOAM_TRY(vmap_request_of(&request, LOAM_VMAP_DEVICE, &place));
    if (!vmap_is_all_device(mm, pages, cache))
        return LOAM_OVERLAP;
    LOAM_TRY(vmap_make(mm, &place, pages.start, &request, &at));
    *out = loam_virt_at(at.addr + inside);
    return LOAM_OK;
}

void loam_vmap_device_free(struct loam *mm, loam_virt at)
{
    vmap_let_wait(mm, vmap_freed(mm, loam_virt_at(loam_page_floor(at.addr)), LOAM_VMAP_DEVICE));
}

/* ---- windows ------------------------------------------------------------- */

enum loam_status loam_vmap_window_open(struct loam *mm, struct loam_vmap_window *window,
                                       const struct loam_vmap_request *request)
{
    struct loam_vrange_request place;
    loam_virt at;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    LOAM_TRY(vmap_request_of(request, LOAM_VMAP_WINDOW, &place));
    const uint64_t level = loam_stock_level(&mm->vmap.nodes);
    const enum loam_status status = vmap_find_place(mm, &place, &at);
    if (status != LOAM_OK) {
        vmap_trim_nodes(mm, level);
        return status;
    }
    window->range = loam_virt_range_of(at, place.page_count << LOAM_PAGE_SHIFT);
    window->front_bytes = 0;
    window->attr = request->attr;
    window->attr.prot |= LOAM_PROT_GLOBAL;
    return LOAM_OK;
}

/* Unmap, flush and free a part. */
static void vmap_window_cut(struct loam *mm, struct loam_virt_range part)
{
    struct loam_space_batch batch;

    loam_space_batch_begin(&batch, &mm->space);
    const enum loam_status status = loam_space_batch_detach(&batch, part);
    LOAM_REQUIRE(status == LOAM_OK, "vmap: not mapped as it was", part.start.addr, part.size);
    loam_space_batch_finish(&batch);
    loam_vmap_collect_alone(mm, part);
    loam_books_trim_tables(mm);
}

enum loam_status loam_vmap_window_resize(struct loam *mm, struct loam_vmap_window *window,
                                         uint64_t front_bytes)
{
    const struct vmap_fill fill = { .is_zeroed = true }; /* any part of it may be cut off */
    const uint64_t start = window->range.start.addr;
    const uint64_t was = window->front_bytes;

    if (!loam_once_is_ready(&mm->once))
        return LOAM_STATE;
    if (front_bytes > window->range.size)
        return LOAM_NO_SPACE;
    const uint64_t now = vmap_pages_of(front_bytes) << LOAM_PAGE_SHIFT;
    if (now > was)
        LOAM_TRY(loam_vmap_fill(mm, loam_virt_range_of(loam_virt_at(start + was), now - was),
                                window->attr, &fill));
    else if (now < was)
        vmap_window_cut(mm, loam_virt_range_of(loam_virt_at(start + now), was - now));
    window->front_bytes = now;
    return LOAM_OK;
}

void loam_vmap_window_close(struct loam *mm, struct loam_vmap_window *window)
{
    const struct loam_virt_range range = vmap_freed(mm, window->range.start, LOAM_VMAP_WINDOW);

    if (window->front_bytes != 0)
        vmap_window_cut(mm, loam_virt_range_of(range.start, window->front_bytes));
    loam_vrange_cancel(&mm->vmap.ranges, range);
    vmap_trim_nodes(mm, VMAP_NODES);
    __builtin_memset(window, 0, sizeof(*window));
}

/* ---- begin --------------------------------------------------------------- */

enum loam_status loam_vmap_init(struct loam *mm, struct loam_virt_range window,
                                uint64_t purge_pages)
{
    struct loam_vmap *vmap = &mm->vmap;

    vmap->window = window;
    loam_stock_init(&vmap->nodes, mm->tables.hhdm, NULL);
    loam_vrange_init(&vmap->ranges, &vmap->nodes, mm->features.levels, purge_pages);
    return loam_vrange_add_window(&vmap->ranges, window);
}
