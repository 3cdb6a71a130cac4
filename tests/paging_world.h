/*
 * paging_world.h - a machine, a stock of table frames and an address space: what
 * the tests of paging share.
 */
#ifndef LOAM_TESTS_PAGING_WORLD_H
#define LOAM_TESTS_PAGING_WORLD_H

#include <string.h>

#include <loam/paging.h>

#include "harness.h"
#include "machine.h"

#define KIB(n)   ((uint64_t)(n) << 10)
#define MIB(n)   ((uint64_t)(n) << 20)
#define GIB(n)   ((uint64_t)(n) << 30)
#define PAGES(n) ((uint64_t)(n) << 12)

#define LOWER  UINT64_C(0x0000400000000000)
#define HIGHER UINT64_C(0xffff900000000000)
/* Table frames lie here. Memory that is only mapped need not be RAM. */
#define POOL UINT64_C(0x2000000)

struct world_options {
    unsigned cpus;      /* 0: 2 */
    unsigned levels;    /* 0: 4 */
    unsigned phys_bits; /* 0: 46 */
    bool no_nx, no_gib_pages, no_global_pages, no_pat;
    uint64_t frames; /* in the stock, the root's included; 0: 64 */
};

static struct loam_stock stock;
static struct loam_space space;
static uint64_t world_frames;

/* Every CPU runs on an empty space. */
static inline void world_start(struct world_options options)
{
    machine_reset(options.cpus != 0 ? options.cpus : 2);
    for (unsigned i = 0; i < machine_cpu_count(); i++) {
        struct machine_cpu *const cpu = machine_cpu(i);
        cpu->nx = !options.no_nx;
        cpu->gib_pages = !options.no_gib_pages;
        cpu->global_pages = !options.no_global_pages;
        cpu->pat = !options.no_pat;
        cpu->smep = cpu->smap = false; /* rights are those of the tables alone */
        cpu->phys_bits = options.phys_bits != 0 ? options.phys_bits : 46;
        if (options.no_global_pages)
            cpu->cr4 &= ~UINT64_C(0x80);
    }
    machine_set_levels(options.levels != 0 ? options.levels : 4);
    world_frames = options.frames != 0 ? options.frames : 64;
    machine_add_ram(POOL, PAGES(world_frames));
    loam_stock_init(&stock, machine_hhdm(), NULL);
    loam_stock_add(&stock, loam_phys_range_of(loam_phys_at(POOL), PAGES(world_frames)));
    const struct loam_cpu_features features = loam_cpu_identify();
    assert_int_equal(loam_space_init(&space, &stock, &features), LOAM_OK);
    for (unsigned i = 0; i < machine_cpu_count(); i++) {
        machine_set_cpu(i);
        assert_int_equal(loam_cpu_enter(&features, space.root), LOAM_OK);
    }
    machine_set_cpu(0);
}

/* Sound, and no frame lost. */
static inline void world_check(void)
{
    const char *const broken = loam_space_audit(&space);
    if (broken != NULL)
        fail_msg("%s", broken);
    assert_null(loam_stock_audit(&stock));
    assert_int_equal(stock.out_count, space.table_count);
    assert_int_equal(stock.frame_count + stock.out_count, world_frames);
    assert_true(machine_interrupts());
}

/* Tables, pages and stock, in one number. */
static inline uint64_t world_digest(void)
{
    return loam_space_digest(&space) * 31 + loam_stock_digest(&stock);
}

static inline struct loam_virt_range range(uint64_t start, uint64_t size)
{
    return loam_virt_range_of(loam_virt_at(start), size);
}

static inline struct loam_attr attr(loam_prot prot, enum loam_cache cache)
{
    const struct loam_attr a = { prot, cache };
    return a;
}

#define RW attr(LOAM_PROT_WRITE, LOAM_CACHE_WB)
#define RO attr(LOAM_PROT_READ, LOAM_CACHE_WB)
#define RX attr(LOAM_PROT_EXEC, LOAM_CACHE_WB)

static inline enum loam_status map(uint64_t virt, uint64_t size, uint64_t phys, struct loam_attr a)
{
    return loam_space_map(&space, range(virt, size), loam_phys_at(phys), a);
}

static inline enum loam_status unmap(uint64_t virt, uint64_t size)
{
    return loam_space_unmap(&space, range(virt, size));
}

static inline enum loam_status protect(uint64_t virt, uint64_t size, struct loam_attr a)
{
    return loam_space_protect(&space, range(virt, size), a);
}

static inline enum loam_status tag(uint64_t virt, uint64_t size, enum loam_entry_kind kind,
                                   uint64_t value)
{
    return loam_space_tag(&space, range(virt, size), kind, value);
}

static inline enum loam_status untag(uint64_t virt, uint64_t size)
{
    return loam_space_untag(&space, range(virt, size));
}

static inline enum loam_status publish(uint64_t virt, uint64_t size, struct loam_attr a)
{
    return loam_space_publish(&space, range(virt, size), a);
}

static inline enum loam_status detach(uint64_t virt, uint64_t size)
{
    LOAM_SPACE_BATCH(batch, &space);
    const enum loam_status st = loam_space_batch_detach(&batch, range(virt, size));
    loam_space_batch_finish(&batch);
    return st;
}

/* Hold pages one after the other, of memory from @p phys on. At most 1024. */
static inline enum loam_status hold(uint64_t virt, uint64_t size, uint64_t phys)
{
    static loam_phys frames[1024];
    const size_t count = (size_t)(size >> 12);
    for (size_t i = 0; i < count; i++)
        frames[i] = loam_phys_at(phys + PAGES(i));
    return loam_space_hold(&space, loam_virt_at(virt), frames, count);
}

/* Take all that is held out. @return bytes; the first run in *first, if there is one */
static inline uint64_t collect(uint64_t virt, uint64_t size, struct loam_phys_range *first)
{
    struct loam_virt_range rest = range(virt, size);
    struct loam_phys_range out[3];
    uint64_t bytes = 0;
    LOAM_SPACE_BATCH(batch, &space);
    for (size_t count; (count = loam_space_batch_collect(&batch, &rest, out, 3)) != 0;) {
        if (bytes == 0 && first != NULL)
            *first = out[0];
        for (size_t i = 0; i < count; i++)
            bytes += out[i].size;
    }
    assert_int_equal(rest.size, 0);
    loam_space_batch_finish(&batch);
    return bytes;
}

static inline struct loam_entry entry_at(uint64_t virt)
{
    struct loam_entry entry;
    assert_int_equal(loam_space_entry(&space, loam_virt_at(virt), &entry), LOAM_OK);
    return entry;
}

static inline struct loam_translation query(uint64_t virt)
{
    struct loam_translation seen;
    assert_int_equal(loam_space_query(&space, loam_virt_at(virt), &seen), LOAM_OK);
    return seen;
}

/* The entry that translates @p virt, read from RAM; 0: there is none. Sets its
 * level, which may be NULL, and gives its address if @p slot is not NULL. */
static inline uint64_t raw_entry(uint64_t virt, unsigned *level, uint64_t **slot)
{
    uint64_t table = space.root.addr;
    for (unsigned l = space.features.levels;; l--) {
        uint64_t *const word = machine_ram(table + (virt >> (12 + 9 * (l - 1)) & 511) * 8);
        if (level != NULL)
            *level = l;
        if (slot != NULL)
            *slot = word;
        if (l == 1 || (*word & 1) == 0 || (*word & 0x80) != 0)
            return *word;
        table = *word & UINT64_C(0x000ffffffffff000);
    }
}

static inline enum machine_type machine_type_of(enum loam_cache cache)
{
    static const enum machine_type types[] = { MACHINE_WB, MACHINE_WT, MACHINE_UC_MINUS,
                                               MACHINE_UC, MACHINE_WP, MACHINE_WC };
    return types[cache];
}

/* Every CPU reaches @p phys there, with these rights and no others. */
static inline void expect_page(uint64_t virt, uint64_t phys, struct loam_attr want)
{
    const bool user = (want.prot & LOAM_PROT_USER) != 0;
    const bool writable = (want.prot & LOAM_PROT_WRITE) != 0;
    const bool executable = (want.prot & LOAM_PROT_EXEC) != 0 || !space.features.nx;
    const struct {
        unsigned kind;
        bool allowed;
    } rows[] = {
        { MACHINE_READ, true },
        { MACHINE_WRITE, writable },
        { MACHINE_EXEC, executable },
        { MACHINE_USER, user },
        { MACHINE_USER | MACHINE_WRITE, user && writable },
        { MACHINE_USER | MACHINE_EXEC, user && executable },
    };
    for (unsigned cpu = 0; cpu < machine_cpu_count(); cpu++) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            const struct machine_access access = machine_access(cpu, virt, rows[i].kind);
            assert_int_equal(access.fault, rows[i].allowed ? MACHINE_OK : MACHINE_PROTECTION);
            if (rows[i].allowed) {
                assert_int_equal(access.phys, phys);
                assert_int_equal(access.type, machine_type_of(want.cache));
            }
        }
        machine_access(cpu, virt, MACHINE_READ); /* cached, now that faults have dropped it */
    }
}

static inline void expect_nothing(uint64_t virt)
{
    for (unsigned cpu = 0; cpu < machine_cpu_count(); cpu++)
        assert_int_equal(machine_access(cpu, virt, MACHINE_READ).fault, MACHINE_NOT_PRESENT);
}

static inline uint64_t page_size_at(uint64_t virt)
{
    return machine_probe(0, virt, MACHINE_READ).page_size;
}

#endif
