/*
 * tlb_world.h - spaces with a few pages in each half, of hand-made tables, on a machine
 * whose CPUs are online. Shared by the tests of tlb.h.
 *
 *     root of each space   [ . own . . | shared . . ]
 *                              |           |
 *       three tables, the last with PAGES entries: page i of a half
 */
#ifndef LOAM_TESTS_TLB_WORLD_H
#define LOAM_TESTS_TLB_WORLD_H

#include <string.h>

#include <loam/tlb.h>
#include <loam/x86.h>

#include "harness.h"
#include "machine.h"

#define PAGES      64u
#define SPACES_MAX 12u
#define PRESENT    UINT64_C(3) /* and writable */
#define G          UINT64_C(0x100)
#define RAM        UINT64_C(0x100000)
#define RAM_PAGES  512u
#define FRAME      UINT64_C(0x7000000)
#define POISON     UINT64_C(0x3f000000) /* where freed tables lead */

/* Page @p i of the lower and of the higher half. */
#define LOWER(i)  (UINT64_C(0x0000000040200000) + (uint64_t)(i)*4096)
#define HIGHER(i) (UINT64_C(0xffff800040200000) + (uint64_t)(i)*4096)

static struct loam_tlb tlb;

/* One half's tables. */
struct tree {
    uint64_t top, middle, last; /* PDPT, PD, PT */
};

static struct {
    struct loam_tlb_space space[SPACES_MAX]; /* the first is the kernel's */
    struct tree tree[SPACES_MAX];
    struct tree shared;
    unsigned count;
    uint64_t next_frame; /* of RAM */
} world;

static inline uint64_t new_table(void)
{
    const uint64_t at = world.next_frame;
    assert_true(at < RAM + RAM_PAGES * LOAM_PAGE_SIZE);
    world.next_frame += LOAM_PAGE_SIZE;
    memset(machine_ram(at), 0, LOAM_PAGE_SIZE);
    return at;
}

static inline uint64_t *entry_of(uint64_t table, unsigned index)
{
    return machine_ram(table + 8 * index);
}

static inline struct tree new_tree(uint64_t rights)
{
    const struct tree tree = { new_table(), new_table(), new_table() };
    *entry_of(tree.top, 1) = tree.middle | rights;
    *entry_of(tree.middle, 1) = tree.last | rights;
    return tree;
}

static inline struct loam_tlb_space *kernel_space(void)
{
    return &world.space[0];
}

/* Another space; its lower half is empty. */
static inline struct loam_tlb_space *add_space(void)
{
    const unsigned i = world.count++;
    const uint64_t root = new_table();
    world.tree[i] = new_tree(PRESENT);
    *entry_of(root, 0) = world.tree[i].top | PRESENT;
    *entry_of(root, 256) = world.shared.top | PRESENT;
    memset(&world.space[i], 0, sizeof(world.space[i]));
    loam_tlb_connect(&tlb, &world.space[i], loam_phys_at(root), i == 0);
    return &world.space[i];
}

/* What the CPUs of a world lack, or have more. */
struct world_options {
    unsigned cpus; /* 2 */
    bool no_pcid, no_invpcid, no_global_pages;
    unsigned invlpgb_pages; /* 0: no INVLPGB */
};

/* Every CPU is online, on the kernel space; there is no other one. */
static inline void world_start(struct world_options options)
{
    const unsigned cpus = options.cpus != 0 ? options.cpus : 2;
    machine_reset(cpus);
    machine_add_ram(RAM, RAM_PAGES * LOAM_PAGE_SIZE);
    world.next_frame = RAM;
    world.count = 0;
    world.shared = new_tree(PRESENT);
    for (unsigned i = 0; i < cpus; i++) {
        struct machine_cpu *const cpu = machine_cpu(i);
        cpu->pcid = !options.no_pcid;
        cpu->invpcid = !options.no_invpcid;
        cpu->global_pages = !options.no_global_pages;
        cpu->invlpgb = options.invlpgb_pages != 0;
        cpu->invlpgb_more = (uint16_t)(options.invlpgb_pages - (cpu->invlpgb ? 1 : 0));
        if (options.no_global_pages)
            cpu->cr4 &= ~LOAM_CR4_PGE;
    }
    const struct loam_cpu_features features = loam_cpu_identify();
    loam_tlb_init(&tlb, &features, cpus);
    (void)add_space();
    for (unsigned i = 0; i < cpus; i++) {
        machine_set_cpu(i);
        loam_tlb_online(&tlb);
        assert_int_equal(loam_cpu_enter(&features, kernel_space()->root), LOAM_OK);
    }
    machine_set_cpu(0);
}

static inline void world_check(void)
{
    const char *const broken = loam_tlb_audit(&tlb);
    if (broken != NULL)
        fail_msg("%s", broken);
    assert_true(machine_interrupts());
}

static inline void load_on(unsigned cpu, struct loam_tlb_space *space)
{
    machine_set_cpu(cpu);
    loam_tlb_switch(&tlb, space);
    machine_set_cpu(0);
}

/* Set page @p i of a half to @p entry, in the tables only. */
static inline void set_lower(const struct loam_tlb_space *space, unsigned i, uint64_t entry)
{
    *entry_of(world.tree[space - world.space].last, i) = entry;
}

static inline void set_higher(unsigned i, uint64_t entry)
{
    *entry_of(world.shared.last, i) = entry;
}

static inline struct loam_virt_range pages_at(uint64_t start, uint64_t count)
{
    return loam_virt_range_of(loam_virt_at(start), count * LOAM_PAGE_SIZE);
}

/* Change page @p i of a space's lower half to @p entry, and flush. */
static inline void change_lower(struct loam_tlb_space *space, unsigned i, uint64_t entry)
{
    set_lower(space, i, entry);
    struct loam_tlb_batch batch;
    loam_tlb_batch_begin(&batch, space);
    loam_tlb_batch_add(&batch, pages_at(LOWER(i), 1), LOAM_PAGE_SIZE);
    loam_tlb_batch_flush(&batch);
    world_check();
}

/* Where a CPU gets to; 0: nowhere. */
static inline uint64_t seen_by(unsigned cpu, uint64_t virt)
{
    return machine_access(cpu, virt, MACHINE_READ).phys;
}

#endif
