/*
 * loam.c - Loam's page tables, as the benchmark calls them.
 *
 * The library is built with LOAM_X86_SIM, because a program may not turn interrupts
 * off. What it may do of that, reading the flags, it does here: the rest of the
 * ticket lock is the kernel's own. The TLB hook counts, and flushes nothing. What is timed
 * is not connected to any CPU's state; what counts shootdowns is, to CPUs that are numbers.
 */
#include <loam/boot/adapter.h>
#include <loam/paging.h>
#include <loam/port.h>
#include <loam/x86.h>

#include "../arena/help.h"
#include "peer.h"

static struct loam_stock stock;
static struct loam_space space;
static uint64_t flushes; /* calls of the hook since the program started */
static uint64_t asked;   /* CPUs that they asked */
static unsigned current_cpu;
static uint64_t cr3, cr4; /* nobody reads what another CPU wrote */

/* ---- the port ------------------------------------------------------------------ */

void loam_port_tlb_flush(const struct loam_tlb_flush *flush)
{
    flushes++;
    for (size_t i = 0; i < sizeof flush->cpus.word / sizeof flush->cpus.word[0]; i++)
        asked += (unsigned)__builtin_popcountll(flush->cpus.word[i]);
}

unsigned loam_port_cpu(void)
{
    return current_cpu;
}

uint64_t loam_x86_irq_save(void)
{
    uint64_t flags;
    __asm__ volatile("pushfq; popq %0" : "=r"(flags) : : "memory");
    return flags;
}

void loam_x86_irq_restore(uint64_t flags)
{
    if ((flags & UINT64_C(0x200)) != 0)
        __asm__ volatile("" : : : "memory"); /* a kernel turns them on here */
}

void loam_x86_pause(void)
{
    __builtin_ia32_pause();
}

/* No CPU here has any of these. */
static _Noreturn void unexpected(void)
{
    bench_fail("touches the processor", "loam");
}

uint64_t loam_x86_read_cr3(void)
{
    return cr3;
}

void loam_x86_write_cr3(uint64_t value)
{
    cr3 = value;
}

uint64_t loam_x86_read_cr4(void)
{
    return cr4;
}

void loam_x86_write_cr4(uint64_t value)
{
    cr4 = value;
}

void loam_x86_invlpg(loam_virt page)
{
    (void)page;
}

void loam_x86_invpcid(uint64_t type, uint64_t pcid, loam_virt page)
{
    (void)type;
    (void)pcid;
    (void)page;
}

void loam_x86_invlpgb(uint64_t what, uint32_t count, uint32_t tags)
{
    (void)what;
    (void)count;
    (void)tags;
    unexpected();
}

void loam_x86_tlbsync(void)
{
    unexpected();
}

/* ---- the tables ---------------------------------------------------------------- */

static struct loam_virt_range range_of(uint64_t virt, uint64_t size)
{
    return loam_virt_range_of(loam_virt_at(virt), size);
}

static const struct loam_cpu_features features = {
    .nx = true, .gib_pages = true, .global_pages = true, .pat = true, .phys_bits = 48, .levels = 4
};

static bool loam_init(const struct paging_setup *setup)
{
    const uint64_t memory = (uint64_t)(uintptr_t)setup->memory;

    loam_stock_init(&stock, loam_boot_hhdm(memory - PAGING_TABLES), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(PAGING_TABLES),
                                              setup->frame_count * LOAM_PAGE_SIZE));
    return loam_space_init(&space, &stock, &features) == LOAM_OK;
}

static uint64_t loam_root(void)
{
    const char *broken = loam_space_audit(&space);
    if (broken != NULL)
        bench_fail("breaks a rule", broken);
    return space.root.addr;
}

/* It takes the largest pages that fit: main.c sees to it that those are page_size. */
static bool loam_map(uint64_t virt, uint64_t phys, uint64_t size, uint64_t page_size)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
    (void)page_size;
    return loam_space_map(&space, range_of(virt, size), loam_phys_at(phys), attr) == LOAM_OK;
}

static bool loam_protect(uint64_t virt, uint64_t size)
{
    const struct loam_attr attr = { LOAM_PROT_READ, LOAM_CACHE_WB };
    return loam_space_protect(&space, range_of(virt, size), attr) == LOAM_OK;
}

static bool loam_unmap(uint64_t virt, uint64_t size)
{
    return loam_space_unmap(&space, range_of(virt, size)) == LOAM_OK;
}

static bool loam_map_page(uint64_t virt, uint64_t phys)
{
    return loam_map(virt, phys, LOAM_PAGE_SIZE, LOAM_PAGE_SIZE);
}

static uint64_t loam_unmap_pages(const uint64_t *virts, size_t count)
{
    const uint64_t before = flushes;
    struct loam_space_batch batch;
    loam_space_batch_begin(&batch, &space);
    for (size_t i = 0; i < count; i++) {
        if (loam_space_batch_unmap(&batch, range_of(virts[i], LOAM_PAGE_SIZE)) != LOAM_OK)
            return PAGING_NONE;
    }
    loam_space_batch_finish(&batch);
    return flushes - before;
}

static uint64_t loam_translate(uint64_t virt)
{
    const loam_phys phys = loam_space_translate(&space, loam_virt_at(virt));
    return loam_phys_is_none(phys) ? PAGING_NONE : phys.addr;
}

/* ---- shootdowns ---------------------------------------------------------------- */

struct paging_shootdowns paging_shootdowns(const struct paging_setup *setup, unsigned cpus,
                                           const uint64_t *virts, size_t count, size_t job)
{
    static struct loam_tlb tlb;
    const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB };

    if (!loam_init(setup) || loam_space_map(&space, range_of(PAGING_AREA, setup->area_bytes),
                                            loam_phys_at(0), attr) != LOAM_OK)
        bench_fail("refuses the memory", "loam");
    loam_tlb_init(&tlb, &features, cpus);
    loam_tlb_connect(&tlb, &space.tlb, space.root, true);
    for (current_cpu = cpus; current_cpu-- > 1;)
        loam_tlb_online(&tlb);
    current_cpu = 0;
    loam_tlb_online(&tlb);
    const struct paging_shootdowns before = { flushes, asked };
    for (size_t i = 0; i < count; i += job) {
        if (loam_unmap_pages(&virts[i], count - i < job ? count - i : job) == PAGING_NONE)
            bench_fail("fails", "loam");
    }
    const struct paging_shootdowns found = { flushes - before.flushes, asked - before.ipis };
    return found;
}

const struct paging_peer paging_loam[] = {
    { "loam", loam_init, loam_root, loam_map, loam_protect, loam_unmap, loam_map_page,
      loam_unmap_pages, loam_translate },
    { .name = NULL },
};
