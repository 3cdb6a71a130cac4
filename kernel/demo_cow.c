/*
 * demo_cow.c - two address spaces that share their memory until one of them writes.
 *
 *     parent  [ 0 | 1 | 2 | 3 ]        cloned: all pages are in both, read-only,
 *     child   [ 0 | 1 | 2 | 3 ]        and two references are on each frame
 *
 *     parent writes page 0     fault: it is copied, the child keeps what it was
 *     child writes page 0      fault: nobody shares it any more, so it is not copied
 *     child writes page 1      fault: it is copied
 *     page 2                   only read: stays shared
 *     page 3                   was read-only before: a write is refused
 *
 * Pages are users' pages. Where the processor has SMAP, the kernel reaches them only
 * while it says so.
 */
#include "demos.h"
#include "instructions.h"
#include "log.h"
#include "memory.h"
#include "probe.h"
#include "smp.h"
#include "text.h"
#include "trap.h"

#define PLACE      UINT64_C(0x200000000)
#define PAGES      4u
#define FRAMES_MAX (2 * PAGES)

static const struct loam_attr writable = { LOAM_PROT_WRITE | LOAM_PROT_USER, LOAM_CACHE_WB };
static const struct loam_attr constant = { LOAM_PROT_USER, LOAM_CACHE_WB };

static struct loam_space parent, child;
static struct loam_space *running; /* on one CPU or another */

/* References to each frame: one for each space that maps it. */
static struct {
    loam_phys frame;
    unsigned references; /* 0: the slot is free */
} shared[FRAMES_MAX];

static unsigned copy_count, takeover_count, wrong_count;

static uint64_t page_at(unsigned page)
{
    return PLACE + page * LOAM_PAGE_SIZE;
}

/* ---- frames with references ----------------------------------------------------- */

static unsigned slot_of(loam_phys frame)
{
    unsigned slot = 0;
    while (slot < FRAMES_MAX &&
           (shared[slot].references == 0 || shared[slot].frame.addr != frame.addr))
        slot++;
    return slot;
}

/* @return loam_phys_none(): no memory, or no slot */
static loam_phys new_frame(void)
{
    unsigned slot = 0;
    while (slot < FRAMES_MAX && shared[slot].references != 0)
        slot++;
    if (slot == FRAMES_MAX)
        return loam_phys_none();
    const loam_phys frame = loam_take_frames(&memory, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    if (!loam_phys_is_none(frame)) {
        shared[slot].frame = frame;
        shared[slot].references = 1;
    }
    return frame;
}

static void add_reference(loam_phys frame)
{
    const unsigned slot = slot_of(frame);
    if (slot < FRAMES_MAX)
        shared[slot].references++;
    else
        wrong_count++;
}

static void drop_reference(loam_phys frame)
{
    const unsigned slot = slot_of(frame);
    if (slot == FRAMES_MAX)
        wrong_count++;
    else if (--shared[slot].references == 0)
        loam_give_frames(&memory, frame, 0, LOAM_OWNER_KERNEL);
}

static void *pointer_to(loam_phys frame)
{
    return loam_hhdm_pointer(memory.tables.hhdm, frame);
}

/* ---- the page-fault handler ------------------------------------------------------ */

/* Behind the page is from now on this frame, writable. */
static bool replace(struct loam_space *space, loam_virt page, loam_phys frame)
{
    enum loam_status st;
    uint64_t more = 0;
    LOAM_SPACE_BATCH(batch, space);
    do
        st = loam_space_batch_replace(&batch, page, frame, writable);
    while (loam_more_tables(&memory, st, &more));
    loam_space_batch_finish(&batch);
    return st == LOAM_OK;
}

static bool copy_page(struct loam_space *space, loam_virt page, loam_phys from)
{
    const unsigned slot = slot_of(from);
    if (slot < FRAMES_MAX && shared[slot].references == 1) {
        takeover_count++;
        return replace(space, page, from);
    }
    const loam_phys to = new_frame();
    if (loam_phys_is_none(to))
        return false;
    memcpy(pointer_to(to), pointer_to(from), LOAM_PAGE_SIZE);
    if (!replace(space, page, to)) {
        drop_reference(to);
        return false;
    }
    drop_reference(from); /* nobody sees it through this space any more */
    copy_count++;
    return true;
}

/* Context: the handler of page faults, interrupts off. */
static bool handle_fault(const struct trap_frame *trap, uint64_t address)
{
    const loam_virt page = loam_virt_at(loam_page_floor(address));
    struct loam_translation at;
    if ((trap->error & (FAULT_PRESENT | FAULT_WRITE)) != (FAULT_PRESENT | FAULT_WRITE) ||
        loam_space_query(running, page, &at) != LOAM_OK || !at.is_cow ||
        (at.attr.prot & LOAM_PROT_WRITE) == 0)
        return false;
    return copy_page(running, page, at.phys);
}

/* ---- what runs in the spaces ------------------------------------------------------ */

static void run_on(struct loam_space *space)
{
    running = space;
    loam_space_switch(space);
}

static void allow_users_pages(void)
{
    if (memory.features.smap)
        loam_x86_stac();
}

static void forbid_users_pages(void)
{
    if (memory.features.smap)
        loam_x86_clac();
}

static void write_text(unsigned page, const char *text)
{
    allow_users_pages();
    text_copy((char *)(uintptr_t)page_at(page), text, LOAM_PAGE_SIZE);
    forbid_users_pages();
}

static void expect(bool holds, const char *what)
{
    if (!holds) {
        wrong_count++;
        log_error("cow: %s", what);
    }
}

static void expect_text(unsigned page, const char *text)
{
    allow_users_pages();
    const bool same = text_is((const char *)(uintptr_t)page_at(page), text);
    forbid_users_pages();
    expect(same, "a page does not hold what was written there");
}

static void expect_no_write(unsigned page)
{
    allow_users_pages();
    const bool written = probe_write(page_at(page), 0);
    forbid_users_pages();
    expect(!written, "a read-only page can be written");
}

static void run_parent_first(void *unused)
{
    (void)unused;
    run_on(&parent);
    write_text(0, "written by the parent");
    write_text(1, "written by the parent");
    write_text(2, "written by the parent");
    expect_no_write(3);
    expect(loam_space_destroy(&parent) == LOAM_STATE, "a space that is in use can be destroyed");
}

static void run_parent_again(void *unused)
{
    uint64_t word;
    (void)unused;
    expect(probe_read(page_at(0), &word) == !memory.features.smap,
           "the kernel reads users' pages with SMAP, or does not without");
    expect_text(0, "written by the parent");
    expect(copy_count == 0, "a page was copied for a read");
    write_text(0, "the parent's own");
    expect(copy_count == 1 && takeover_count == 0, "the first write does not copy");
    write_text(0, "the parent's own now");
    expect(copy_count == 1, "a page is copied twice");
    run_on(&memory.space);
}

static void run_child(void *unused)
{
    (void)unused;
    run_on(&child);
    expect_text(0, "written by the parent");
    write_text(0, "the child's own");
    expect(copy_count == 1 && takeover_count == 1, "a page that nobody shares is copied");
    write_text(1, "the child's own");
    expect(copy_count == 2 && takeover_count == 1, "a shared page is not copied");
    expect_text(2, "written by the parent");
    expect_no_write(3);
    run_on(&memory.space);
}

static void run_parent_last(void *unused)
{
    (void)unused;
    run_on(&parent);
    expect_text(0, "the parent's own now");
    expect_text(1, "written by the parent");
    expect_text(2, "written by the parent");
    run_on(&memory.space);
}

/* ---- spaces come and go ------------------------------------------------------------ */

static enum loam_status create(struct loam_space *space)
{
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_create(space, &memory.space);
    while (loam_more_tables(&memory, st, &more));
    return st;
}

static bool map_page(unsigned page)
{
    const struct loam_virt_range at =
        loam_virt_range_of(loam_virt_at(page_at(page)), LOAM_PAGE_SIZE);
    const loam_phys frame = new_frame();
    enum loam_status st = LOAM_NO_MEMORY;
    uint64_t more = 0;
    if (loam_phys_is_none(frame))
        return false;
    memset(pointer_to(frame), 0, LOAM_PAGE_SIZE);
    do
        st = loam_space_map(&parent, at, frame, page == PAGES - 1 ? constant : writable);
    while (loam_more_tables(&memory, st, &more));
    if (st != LOAM_OK)
        drop_reference(frame);
    return st == LOAM_OK;
}

/* Every page of a space's lower half. */
static void for_each_page(struct loam_space *space, void (*act)(loam_phys frame))
{
    struct loam_mapping run;
    uint64_t at = 0;
    while (loam_space_next(space, loam_virt_at(at), &run) == LOAM_OK &&
           run.virt.start.addr >> 63 == 0) {
        for (uint64_t offset = 0; offset < run.virt.size; offset += LOAM_PAGE_SIZE)
            act(loam_phys_at(run.phys.addr + offset));
        at = run.virt.start.addr + run.virt.size;
    }
}

static bool clone(void)
{
    enum loam_status st;
    uint64_t more = 0;
    do
        st = loam_space_clone(&child, &parent);
    while (loam_more_tables(&memory, st, &more));
    if (st == LOAM_OK)
        for_each_page(&child, add_reference);
    return st == LOAM_OK;
}

static void destroy(struct loam_space *space)
{
    uint64_t more = 0;
    const char *broken = loam_space_audit(space);
    expect(broken == NULL, broken);
    for_each_page(space, drop_reference);
    expect(loam_space_destroy(space) == LOAM_OK, "a space cannot be destroyed");
    (void)!loam_more_tables(&memory, LOAM_OK, &more); /* what it left in stock */
}

static void show_page(unsigned page)
{
    struct loam_translation in_parent, in_child;
    const loam_virt at = loam_virt_at(page_at(page));
    if (loam_space_query(&parent, at, &in_parent) != LOAM_OK ||
        loam_space_query(&child, at, &in_child) != LOAM_OK) {
        expect(false, "a page is not mapped");
        return;
    }
    const unsigned slot = slot_of(in_parent.phys);
    const bool is_same = in_parent.phys.addr == in_child.phys.addr;
    log_info("page %u: parent 0x%016lx, child 0x%016lx, %u references", page, in_parent.phys.addr,
             in_child.phys.addr, slot < FRAMES_MAX ? shared[slot].references : 0);
    expect(is_same == (page >= 2) && slot < FRAMES_MAX &&
               shared[slot].references == (is_same ? 2u : 1u),
           "references to a page are not as many as there should be");
}

static bool run_both(void)
{
    const unsigned other = cpu_count() - 1; /* this one, if there is no other */
    for (unsigned page = 0; page < PAGES; page++) {
        if (!map_page(page))
            return false;
    }
    run_parent_first(NULL);
    if (!clone()) { /* while we run on it */
        run_on(&memory.space);
        return false;
    }
    run_parent_again(NULL);
    smp_run_on(other, run_child, NULL);
    smp_run_on(other, run_parent_last, NULL);
    for (unsigned page = 0; page < PAGES; page++)
        show_page(page);
    log_info("%u pages were copied, %u not, since nobody shared them any more", copy_count,
             takeover_count);
    return true;
}

bool demo_cow(struct loam_locked *heap)
{
    (void)heap;
    copy_count = takeover_count = wrong_count = 0;
    if (create(&parent) != LOAM_OK)
        return false;
    if (create(&child) != LOAM_OK) {
        destroy(&parent);
        return false;
    }
    trap_set_fault_handler(handle_fault);
    const bool all_ran = run_both();
    trap_set_fault_handler(NULL);
    destroy(&child);
    destroy(&parent);
    for (unsigned slot = 0; slot < FRAMES_MAX; slot++)
        expect(shared[slot].references == 0, "a frame is still referenced");
    return all_ran && wrong_count == 0;
}
