/*
 * loam_world.h - a simulated machine with a memory map, ready for loam_init().
 * Shared by the tests of loam.c.
 */
#ifndef LOAM_TESTS_LOAM_WORLD_H
#define LOAM_TESTS_LOAM_WORLD_H

#include "harness.h"

#include <string.h>

#include <loam/boot/adapter.h>
#include <loam/loam.h>

#include "machine.h"

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)

#define IMAGE_VIRT UINT64_C(0xffffffff80000000)
#define COVERED                                                                \
    (LOAM_MEM_BIT(LOAM_MEM_USABLE) | LOAM_MEM_BIT(LOAM_MEM_BOOT_RECLAIMABLE) | \
     LOAM_MEM_BIT(LOAM_MEM_EXECUTABLE) | LOAM_MEM_BIT(LOAM_MEM_FRAMEBUFFER))

LOAM_BOOT_STORAGE(storage, 256);

static struct loam mm;
static struct loam_boot boot;
static struct loam_refusal refusal;

static inline void add(uint64_t start, uint64_t size, enum loam_mem_type type)
{
    storage.raw[boot.raw_count].range = loam_phys_range_of(loam_phys_at(start), size);
    storage.raw[boot.raw_count].type = type;
    boot.raw_count++;
    if ((COVERED & LOAM_MEM_BIT(type)) != 0)
        machine_add_ram(start, size);
}

/* A machine that is on, with an empty map. */
static inline void power_on(unsigned cpus)
{
    machine_reset(cpus);
    memset(&mm, 0, sizeof mm);
    memset(&boot, 0, sizeof boot);
    memset(&refusal, 0, sizeof refusal);
    boot.struct_bytes = sizeof boot;
    boot.cpu_count = cpus;
    boot.storage = storage;
    boot.hhdm = machine_hhdm();
    boot.hhdm_types = COVERED;
    boot.levels = 4;
}

static inline void add_image(uint64_t phys)
{
    boot.image.phys_base = loam_phys_at(phys);
    boot.image.virt_base = loam_virt_at(IMAGE_VIRT);
    boot.image.section[0].virt = loam_virt_range_of(loam_virt_at(IMAGE_VIRT), KIB(64));
    boot.image.section[0].prot = LOAM_PROT_EXEC;
    boot.image.section[1].virt = loam_virt_range_of(loam_virt_at(IMAGE_VIRT + KIB(64)), KIB(32));
    boot.image.section[1].prot = LOAM_PROT_READ;
    boot.image.section[2].virt = loam_virt_range_of(loam_virt_at(IMAGE_VIRT + KIB(96)), KIB(160));
    boot.image.section[2].prot = LOAM_PROT_WRITE;
    boot.image.section_count = 3;
}

/*
 *   0    [usable)[reserved)
 *   1 MiB      [image)[boot)[usable ............ 64 MiB)      [fb)  [reserved)
 */
static inline void small_machine(unsigned cpus)
{
    power_on(cpus);
    add(0, KIB(636), LOAM_MEM_USABLE);
    add(KIB(636), KIB(388), LOAM_MEM_RESERVED);
    add(MIB(1), KIB(256), LOAM_MEM_EXECUTABLE);
    add(MIB(1) + KIB(256), KIB(768), LOAM_MEM_BOOT_RECLAIMABLE);
    add(MIB(2), MIB(62), LOAM_MEM_USABLE);
    add(GIB(3), MIB(4), LOAM_MEM_FRAMEBUFFER);
    add(GIB(1012), GIB(12), LOAM_MEM_RESERVED);
    add_image(MIB(1));
    boot.code = loam_virt_at(IMAGE_VIRT + 0x123);
    boot.stack = loam_hhdm_virt(boot.hhdm, loam_phys_at(MIB(1) + KIB(512)));
}

/* The kinds that loam_malloc() can stand on. */
static const enum loam_allocator_kind heap_kinds[] = {
    LOAM_ALLOCATOR_BUMP,  LOAM_ALLOCATOR_FREELIST, LOAM_ALLOCATOR_BLOCK,
    LOAM_ALLOCATOR_ARENA, LOAM_ALLOCATOR_HEAP,
};

#define HEAP_KIND_COUNT (sizeof heap_kinds / sizeof heap_kinds[0])

/* A small machine for each kind of heap, with and without debug; not brought up yet. */
struct heap_sweep {
    size_t step;
};

static inline bool heap_sweep_next(struct heap_sweep *sweep)
{
    if (sweep->step == 2 * HEAP_KIND_COUNT)
        return false;
    small_machine(1);
    boot.heap_kind = heap_kinds[sweep->step / 2];
    boot.heap_debug = sweep->step % 2 == 1;
    sweep->step++;
    return true;
}

#define EACH_HEAP for (struct heap_sweep heaps_ = { 0 }; heap_sweep_next(&heaps_);)

static inline struct loam_locked_stats heap_stats(void)
{
    struct loam_locked_stats stats;
    loam_locked_measure(&mm.heap, &stats);
    return stats;
}

/* Does malloc go straight to the heap? Then nothing counts calls. */
static inline bool heap_is_direct(void)
{
    return mm.heap.options.allocator.kind == LOAM_ALLOCATOR_HEAP && !mm.heap.options.debug;
}

/* Of the debug layer, blocks that wait are not the heap's again yet. */
static inline void heap_settle(void)
{
    if (mm.heap.options.debug)
        loam_debug_flush(&mm.heap.debug);
}

/* In ranges and singly. */
static inline uint64_t total(enum loam_owner owner)
{
    return loam_owner_bytes(&mm, owner);
}

#endif
