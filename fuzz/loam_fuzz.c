/*
 * loam_fuzz.c - any memory map, image and wishes to loam_init(): refused with a
 * rule and nothing changed, or a subsystem that is sound, can be entered, and
 * stays sound under any sequence of take, give, map, unmap, malloc and free, of ranges and
 * single frames, with the bootloader's memory reclaimed at any time. In the end
 * everything is given back and the books are as they were.
 */
#include "fuzz.h"

#include "loam_world.h"

#define ENTRIES_MAX 10u
#define HELD_MAX    16u
#define MAPPED_AT   UINT64_C(0xffffc00000000000)

struct held {
    struct loam_phys_range range; /* size 0: none */
    bool is_mapped;
};

/* Frames that are counted. */
struct counted {
    loam_phys block;
    unsigned order; /* and one; 0: none */
    enum loam_owner owner;
};

struct world {
    struct held held[HELD_MAX];
    struct counted counted[HELD_MAX];
    unsigned char *block[HELD_MAX];
};

/* ---- a machine ----------------------------------------------------------- */

static void take_map(struct fuzz_input *input)
{
    const uint64_t entries = fuzz_take(input, 1) % (ENTRIES_MAX + 1);
    for (uint64_t i = 0; i < entries; i++) {
        const uint64_t kind = fuzz_take(input, 1);
        const uint64_t base = fuzz_take(input, 1) << (kind % 4 == 0 ? 30 : 20);
        const uint64_t size = fuzz_take(input, 2) << 10;
        const uint64_t type = kind / 8 % (LOAM_MEM_TYPES + 1); /* one of them unknown */
        add(base + (kind % 8 == 1 ? fuzz_take(input, 2) : 0), size,
            size != 0 ? (enum loam_mem_type)type : LOAM_MEM_RESERVED);
    }
}

static void take_machine(struct fuzz_input *input)
{
    const uint64_t kind = fuzz_take(input, 1);
    power_on(1);
    if (kind % 4 == 0) {
        machine_set_levels(5);
        boot.levels = 5;
    }
    if (kind % 8 == 1)
        machine_cpu(0)->gib_pages = false;
    if (kind % 16 == 2)
        machine_cpu(0)->nx = false;
    if (kind % 16 == 3)
        machine_cpu(0)->pat = false;
    take_map(input);
    if (kind % 3 != 0)
        add_image(fuzz_take(input, 2) << 12);
    boot.heap_bytes = kind < 64 ? fuzz_take(input, 4) : 0;
    const uint64_t heap = fuzz_take(input, 1); /* some kinds and locks are unknown */
    boot.heap_kind = (enum loam_allocator_kind)(heap % 8);
    boot.heap_lock = (enum loam_locked_kind)(heap / 16 == 15 ? 4 : heap / 16 % 2);
    boot.heap_debug = heap / 8 % 2 == 1;
    if (kind >= 192)
        boot.stack = loam_hhdm_virt(boot.hhdm, loam_phys_at(fuzz_take(input, 4)));
}

/* ---- using it ------------------------------------------------------------ */

static void take_or_give(struct fuzz_input *input, struct held *held)
{
    if (held->range.size != 0 && !held->is_mapped) {
        FUZZ_CHECK(loam_give(&mm, held->range, LOAM_OWNER_KERNEL) == LOAM_OK);
        held->range.size = 0;
        return;
    }
    if (held->range.size != 0)
        return;
    const uint64_t kind = fuzz_take(input, 1);
    const struct loam_frame_request request = {
        .page_count = fuzz_take(input, 1),
        .align_bytes = kind % 4 == 0 ? UINT64_C(1) << kind / 4 : 0,
        .limit = kind % 4 == 1 ? (kind / 4) << 22 : 0,
        .boundary_bytes = kind % 4 == 2 ? UINT64_C(4096) << kind / 8 : 0,
        .from = kind % 4 == 3 ? (kind / 4) << 20 : 0,
    };
    struct loam_phys_range range;
    const uint64_t digest = loam_digest(&mm);
    if (loam_take(&mm, &request, LOAM_OWNER_KERNEL, &range) != LOAM_OK) {
        FUZZ_CHECK(loam_digest(&mm) == digest);
        return;
    }
    FUZZ_CHECK(range.size == request.page_count * LOAM_PAGE_SIZE);
    FUZZ_CHECK(request.limit == 0 || range.start.addr + range.size <= request.limit);
    FUZZ_CHECK(request.align_bytes == 0 || range.start.addr % request.align_bytes == 0);
    memset(loam_hhdm_pointer(boot.hhdm, range.start), 0x5a, (size_t)range.size);
    held->range = range;
}

static void count_or_give(struct fuzz_input *input, struct counted *counted)
{
    const uint64_t digest = loam_digest(&mm);
    if (counted->order != 0) {
        loam_give_frames(&mm, counted->block, counted->order - 1, counted->owner);
        counted->order = 0;
        return;
    }
    const uint64_t kind = fuzz_take(input, 1);
    const unsigned order = (unsigned)(kind % 32);
    const enum loam_zone zone = (enum loam_zone)(kind / 32 % 4);
    counted->owner = (enum loam_owner)(kind / 128 == 0 ? LOAM_OWNER_KERNEL : fuzz_take(input, 1));
    counted->block = loam_take_frames(&mm, order, zone, counted->owner);
    if (loam_phys_is_none(counted->block)) {
        FUZZ_CHECK(loam_digest(&mm) == digest);
        return;
    }
    FUZZ_CHECK(order <= LOAM_ORDER_MAX && counted->block.addr % loam_order_bytes(order) == 0);
    FUZZ_CHECK(zone != LOAM_ZONE_4G || counted->block.addr + loam_order_bytes(order) <= UINT64_C(1)
                                                                                            << 32);
    FUZZ_CHECK(zone != LOAM_ZONE_16M || counted->block.addr + loam_order_bytes(order) <= UINT64_C(1)
                                                                                             << 24);
    memset(machine_ram(counted->block.addr), 0x3c, LOAM_PAGE_SIZE);
    counted->order = order + 1;
}

static void map_or_unmap(struct held *held, unsigned index)
{
    const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB };
    const loam_virt at = loam_virt_at(MAPPED_AT + ((uint64_t)index << 30));
    if (held->range.size == 0)
        return;
    const struct loam_virt_range virt = loam_virt_range_of(at, held->range.size);
    if (held->is_mapped) {
        FUZZ_CHECK(loam_unmap(&mm, virt) == LOAM_OK);
        held->is_mapped = false;
        FUZZ_CHECK(machine_access(0, at.addr, MACHINE_READ).fault == MACHINE_NOT_PRESENT);
        return;
    }
    const enum loam_status st = loam_map(&mm, virt, held->range.start, attr);
    FUZZ_CHECK(st == LOAM_OK || st == LOAM_NO_MEMORY);
    held->is_mapped = st == LOAM_OK;
    if (held->is_mapped)
        FUZZ_CHECK(machine_access(0, at.addr, MACHINE_WRITE).phys == held->range.start.addr);
}

static void allocate_or_free(struct fuzz_input *input, unsigned char **block)
{
    if (*block != NULL) {
        loam_free(&mm, *block);
        *block = NULL;
        return;
    }
    const size_t size_bytes = (size_t)fuzz_take(input, 2);
    *block = loam_malloc(&mm, size_bytes);
    /* What is pieced together can be seen with the machine's tables only. */
    if (*block != NULL &&
        (uint64_t)(uintptr_t)*block - mm.vmap.window.start.addr >= mm.vmap.window.size)
        memset(*block, 0xa5, size_bytes);
}

static void reclaim(void)
{
    const uint64_t bootloader = loam_owner_bytes(&mm, LOAM_OWNER_BOOTLOADER);
    uint64_t bytes;
    const enum loam_status st = loam_reclaim(&mm, &bytes);
    FUZZ_CHECK(st == LOAM_OK || st == LOAM_STATE || st == LOAM_NO_MEMORY);
    FUZZ_CHECK(bytes <= bootloader && (st != LOAM_OK || bytes + LOAM_PAGE_SIZE >= bootloader));
}

static void use(struct fuzz_input *input, struct world *world)
{
    while (input->left > 0) {
        const unsigned what = (unsigned)fuzz_take(input, 1);
        const unsigned index = what / 4 % HELD_MAX;
        if (what % 4 == 0)
            allocate_or_free(input, &world->block[index]);
        else if (what % 4 == 1)
            map_or_unmap(&world->held[index], index);
        else if (what % 4 == 2)
            take_or_give(input, &world->held[index]);
        else if (what != UINT8_MAX)
            count_or_give(input, &world->counted[index]);
        else
            reclaim();
        fuzz_check_sound(loam_audit(&mm));
    }
}

static void give_all_back(struct fuzz_input *input, struct world *world)
{
    for (unsigned i = 0; i < HELD_MAX; i++) {
        if (world->held[i].is_mapped)
            map_or_unmap(&world->held[i], i);
        if (world->held[i].range.size != 0)
            take_or_give(input, &world->held[i]);
        if (world->counted[i].order != 0)
            count_or_give(input, &world->counted[i]);
        if (world->block[i] != NULL)
            allocate_or_free(input, &world->block[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct fuzz_input input = { data, size };
    memset(&world, 0, sizeof world);
    take_machine(&input);
    const uint64_t untouched = loam_digest(&mm);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK) {
        FUZZ_CHECK(refusal.rule != NULL);
        FUZZ_CHECK(loam_digest(&mm) == untouched);
        return 0;
    }
    fuzz_check_sound(loam_audit(&mm));
    FUZZ_CHECK(loam_enter(&mm) == LOAM_OK);
    const uint64_t usable = loam_owner_bytes(&mm, LOAM_OWNER_USABLE);
    use(&input, &world);
    give_all_back(&input, &world);
    fuzz_check_sound(loam_audit(&mm));
    FUZZ_CHECK(loam_owner_bytes(&mm, LOAM_OWNER_KERNEL) == 0);
    struct loam_locked_stats heap;
    if (mm.heap.options.debug)
        loam_debug_flush(&mm.heap.debug);
    loam_locked_measure(&mm.heap, &heap);
    FUZZ_CHECK(heap.heap.used_count == 0 && heap.heap.used_bytes == 0);
    /* Spare frames may have been added to the stocks, which also keep some. */
    FUZZ_CHECK(loam_owner_bytes(&mm, LOAM_OWNER_USABLE) + (UINT64_C(1) << 20) >= usable);
    return 0;
}
