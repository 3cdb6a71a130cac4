/*
 * vmap_fill.c - see vmap.h: frames behind addresses.
 *
 * Where 2 MiB of what is wanted have an address for it, they are one block and one page, if
 * there is such a block; all else is single frames.
 */
#include <loam/loam.h>

#include "internal/books.h"
#include "internal/check.h"
#include "internal/try.h"
#include "internal/vmap.h"
#include "internal/zero_page.h"

#define VMAP_BATCH 32u  /* frames at a time, on the stack */
#define VMAP_RUNS  16u  /* of frames that are collected, likewise */
#define VMAP_MANY  512u /* pages: worth a look at how many are free */

/* ---- frames -------------------------------------------------------------- */

static size_t vmap_take_some(struct loam *mm, loam_phys *frame, size_t count, bool is_zeroed)
{
    size_t taken = 0;

    if (!is_zeroed)
        return loam_take_bulk(mm, LOAM_ZONE_ANY, VMAP_OWNER, frame, count);
    for (; taken < count; taken++) {
        frame[taken] = loam_take_zeroed(mm, 0, LOAM_ZONE_ANY, VMAP_OWNER);
        if (loam_phys_is_none(frame[taken]))
            break;
    }
    return taken;
}

/* A block of 2 MiB if there is one: nothing is given up for it, since small pages do. */
static loam_phys vmap_take_block(struct loam *mm, bool is_zeroed)
{
    const loam_phys block = loam_frame_alloc(&mm->frame, LOAM_ORDER_2M, LOAM_ZONE_ANY);

    if (loam_phys_is_none(block))
        return block;
    (void)loam_ledger_add(&mm->ledger, VMAP_OWNER, VMAP_PAGES_2M);
    if (is_zeroed)
        zero_fill(loam_hhdm_pointer(mm->tables.hhdm, block), VMAP_SIZE_2M);
    if (mm->pressure_interval != 0) {
        const struct loam_pressure_report report = {
            .zone = LOAM_ZONE_ANY,
            .wanted_pages = VMAP_PAGES_2M,
            .free_pages = loam_owner_bytes(mm, LOAM_OWNER_USABLE) / LOAM_PAGE_SIZE,
        };
        loam_pressure_notice(&mm->pressure, &report);
    }
    return block;
}

/* All or none. What waits is freed if it has to be. */
static enum loam_status vmap_take(struct loam *mm, loam_phys *frame, size_t count, bool is_zeroed)
{
    size_t taken = 0;

    do { /* ends: each turn frees something that waited */
        taken += vmap_take_some(mm, frame + taken, count - taken, is_zeroed);
    } while (taken < count && loam_vmap_purge(mm));
    if (taken == count)
        return LOAM_OK;
    loam_give_bulk(mm, VMAP_OWNER, frame, taken);
    return LOAM_NO_MEMORY;
}

static void vmap_give_run(struct loam *mm, struct loam_phys_range run)
{
    loam_phys frame[VMAP_BATCH];

    while (run.size != 0) { /* ends: it gets shorter */
        size_t count = 0;
        for (; count < VMAP_BATCH && run.size != 0; count++) {
            frame[count] = run.start;
            run.start.addr += LOAM_PAGE_SIZE;
            run.size -= LOAM_PAGE_SIZE;
        }
        loam_give_bulk(mm, VMAP_OWNER, frame, count);
    }
}

/* Free the frames that are held in a range; every CPU has forgotten them. */
void loam_vmap_collect(struct loam *mm, struct loam_space_batch *batch,
                       struct loam_virt_range range)
{
    struct loam_phys_range run[VMAP_RUNS];
    size_t count;

    while ((count = loam_space_batch_collect(batch, &range, run, VMAP_RUNS)) != 0) {
        for (size_t i = 0; i < count; i++) /* ends: the range gets shorter */
            vmap_give_run(mm, run[i]);
    }
}

void loam_vmap_collect_alone(struct loam *mm, struct loam_virt_range range)
{
    struct loam_space_batch batch;

    if (range.size == 0)
        return;
    loam_space_batch_begin(&batch, &mm->space);
    loam_vmap_collect(mm, &batch, range);
    loam_space_batch_finish(&batch);
}

/* ---- page tables --------------------------------------------------------- */

static enum loam_status vmap_try(struct loam *mm, const struct vmap_edit *edit)
{
    if (edit->frame == NULL && edit->is_held)
        return loam_space_hold_range(&mm->space, edit->virt, edit->phys);
    if (edit->frame == NULL)
        return loam_space_map(&mm->space, edit->virt, edit->phys, edit->attr);
    return loam_space_hold(&mm->space, edit->virt.start, edit->frame,
                           (size_t)(edit->virt.size >> LOAM_PAGE_SHIFT));
}

/* Repeated with more and more spare tables, until it has enough or there are none. */
enum loam_status loam_vmap_change(struct loam *mm, const struct vmap_edit *edit)
{
    enum loam_status status;

    do { /* ends: what waits becomes less */
        uint64_t more = 0;
        do
            status = vmap_try(mm, edit);
        while (loam_more_tables(mm, status, &more));
    } while (status == LOAM_NO_MEMORY && loam_vmap_purge(mm));
    return status;
}

/* Hold frames at the start of a range: a block if one fits, or some single ones.
 * @return LOAM_NO_MEMORY: none was had; else *size is what they fill */
static enum loam_status vmap_hold_some(struct loam *mm, struct loam_virt_range range,
                                       const struct vmap_fill *fill, uint64_t *size)
{
    const uint64_t room = VMAP_SIZE_2M - range.start.addr % VMAP_SIZE_2M; /* for small ones */
    const uint64_t pages = (range.size < room ? range.size : room) >> LOAM_PAGE_SHIFT;
    loam_phys frame[VMAP_BATCH];
    struct vmap_edit hold = { .phys = loam_phys_none(), .is_held = true };
    size_t count = pages < VMAP_BATCH ? (size_t)pages : VMAP_BATCH;

    if (fill->is_large && pages == VMAP_PAGES_2M)
        hold.phys = vmap_take_block(mm, fill->is_zeroed);
    if (!loam_phys_is_none(hold.phys)) {
        count = VMAP_PAGES_2M;
    } else {
        LOAM_TRY(vmap_take(mm, frame, count, fill->is_zeroed));
        hold.frame = frame;
    }
    hold.virt = loam_virt_range_of(range.start, count * LOAM_PAGE_SIZE);
    const enum loam_status status = loam_vmap_change(mm, &hold);
    if (status == LOAM_OK)
        *size = hold.virt.size;
    else if (hold.frame != NULL)
        loam_give_bulk(mm, VMAP_OWNER, frame, count);
    else
        loam_give_frames(mm, hold.phys, LOAM_ORDER_2M, VMAP_OWNER);
    return status;
}

/* Hold frames for all pages of a range in which nothing is mapped, or for none. */
static enum loam_status vmap_hold(struct loam *mm, struct loam_virt_range range,
                                  const struct vmap_fill *fill)
{
    enum loam_status status = LOAM_OK;
    uint64_t done = 0;

    while (done < range.size && status == LOAM_OK) {
        const loam_virt at = loam_virt_at(range.start.addr + done);
        uint64_t size = 0;
        status = vmap_hold_some(mm, loam_virt_range_of(at, range.size - done), fill, &size);
        done += size;
    }
    if (status != LOAM_OK)
        loam_vmap_collect_alone(mm, loam_virt_range_of(range.start, done));
    return status;
}

/* Map new memory at all pages of a range, or at none. */
enum loam_status loam_vmap_fill(struct loam *mm, struct loam_virt_range range,
                                struct loam_attr attr, const struct vmap_fill *fill)
{
    enum loam_status status = LOAM_OK;

    if (range.size >> LOAM_PAGE_SHIFT >= VMAP_MANY &&
        loam_owner_bytes(mm, LOAM_OWNER_USABLE) < range.size) {
        (void)loam_vmap_purge(mm);
        if (loam_owner_bytes(mm, LOAM_OWNER_USABLE) < range.size)
            return LOAM_NO_MEMORY;
    }
    status = vmap_hold(mm, range, fill);
    if (status == LOAM_OK) {
        const enum loam_status published = loam_space_publish(&mm->space, range, attr);
        LOAM_ASSERT(published == LOAM_OK); /* all are held, none reaches over an edge */
    }
    loam_books_trim_tables(mm);
    return status;
}
