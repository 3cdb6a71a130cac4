/*
 * latecomer.c - see latecomer.h.
 */
#include "latecomer.h"

#include <stdatomic.h>

#include <loam/loam.h>
#include <loam/x86.h>

#include "cpu.h"
#include "layout.h"
#include "log.h"
#include "memory.h"

/* Who waits for whom, in this order. */
enum { NOBODY_INVITED, INVITED, LOOKING, LOOKED, CHANGED, LOOKED_AGAIN };

static _Atomic(unsigned) step;
static struct loam_phys_range frames[2];
static uint64_t seen; /* by the second look */
static const struct cpu *guest;

static const struct loam_virt_range page = { { LAYOUT_SCRATCH }, LOAM_PAGE_SIZE };
static const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB };

static void wait_for_step(unsigned wanted)
{
    while (atomic_load(&step) != wanted)
        loam_x86_pause();
}

static uint64_t read_page(void)
{
    return *(volatile uint64_t *)LAYOUT_SCRATCH;
}

bool latecomer_invite(void)
{
    const struct loam_frame_request one = { .page_count = 1 };
    for (unsigned i = 0; i < 2; i++) {
        if (loam_take(&memory, &one, LOAM_OWNER_KERNEL, &frames[i]) != LOAM_OK)
            return false;
        *(uint64_t *)loam_hhdm_pointer(memory.tables.hhdm, frames[i].start) = i + 1;
    }
    if (loam_map(&memory, page, frames[0].start, attr) != LOAM_OK)
        return false;
    atomic_store(&step, INVITED);
    return true;
}

void latecomer_look(void)
{
    unsigned invited = INVITED;
    if (!atomic_compare_exchange_strong(&step, &invited, LOOKING))
        return;
    guest = cpu_self();
    (void)read_page();
    atomic_store(&step, LOOKED);
    while (atomic_load(&cpu_self()->tlb_asked) == 0)
        loam_x86_pause();
}

void latecomer_change(void)
{
    if (atomic_load(&step) == NOBODY_INVITED || cpu_count() == 1)
        return;
    wait_for_step(LOOKED);
    if (loam_unmap(&memory, page) != LOAM_OK ||
        loam_map(&memory, page, frames[1].start, attr) != LOAM_OK)
        log_error("latecomer: cannot map another frame");
    atomic_store(&step, CHANGED);
}

void latecomer_look_again(void)
{
    if (guest != cpu_self())
        return;
    wait_for_step(CHANGED);
    seen = read_page();
    atomic_store(&step, LOOKED_AGAIN);
}

bool latecomer_dismiss(void)
{
    if (atomic_load(&step) == NOBODY_INVITED)
        return true;
    bool good = loam_unmap(&memory, page) == LOAM_OK;
    for (unsigned i = 0; i < 2; i++)
        good = loam_give(&memory, frames[i], LOAM_OWNER_KERNEL) == LOAM_OK && good;
    if (atomic_load(&step) != LOOKED_AGAIN) {
        log_error("latecomer: there is no other CPU");
        return false;
    }
    if (seen == 2)
        log_info("latecomer: CPU %u sees the change that it was asked about", guest->index);
    else
        log_error("latecomer: CPU %u sees frame %lu", guest->index, seen);
    return good && seen == 2;
}
