/*
 * maps.c - Loam's interval map, and one that is none, as the benchmark calls them.
 *
 * The library is built with LOAM_X86_SIM, because a program may not turn interrupts
 * off. What it may do of that, reading the flags, it does here: the rest of the
 * ticket lock is the kernel's own.
 */
#include <stdio.h>
#include <stdlib.h>

#include <loam/boot/adapter.h>
#include <loam/port.h>
#include <loam/usage.h>
#include <loam/x86.h>

#include "map.h"

/* ---- the port ------------------------------------------------------------------ */

uint64_t loam_x86_irq_save(void)
{
    uint64_t flags;
    __asm__ volatile("pushfq; popq %0" : "=r"(flags) : : "memory");
    return flags;
}

void loam_x86_irq_restore(uint64_t flags)
{
    if ((flags & UINT64_C(0x200)) == 0) /* never so in a program */
        abort();
}

void loam_x86_pause(void)
{
    __builtin_ia32_pause();
}

/* ---- Loam's -------------------------------------------------------------------- */

/* Frame 0 is no frame for a stock. */
#define BENCH_MEMORY_AT UINT64_C(0x100000)

static struct loam_hhdm hhdm;
static uint64_t frames; /* of memory for nodes */
static struct loam_stock stock;
static struct loam_usage usage;

void bench_usage_memory(void *memory, size_t size_bytes)
{
    hhdm = loam_boot_hhdm((uint64_t)(uintptr_t)memory - BENCH_MEMORY_AT);
    frames = size_bytes / LOAM_PAGE_SIZE;
}

static void usage_init(size_t interval_count)
{
    const uint64_t wanted = 16 + interval_count / 16;
    const uint64_t count = wanted < frames ? wanted : frames;

    loam_stock_init(&stock, hhdm, NULL);
    loam_stock_add(&stock,
                   loam_phys_range_of(loam_phys_at(BENCH_MEMORY_AT), count * LOAM_PAGE_SIZE));
    loam_usage_init(&usage, &stock);
}

static bool usage_insert(uint64_t first, uint64_t last, uint8_t value)
{
    const struct loam_phys_range range = { loam_phys_at(first), last - first + 1 };
    return loam_usage_insert(&usage, range, (enum loam_owner)value) == LOAM_OK;
}

static bool usage_insert_merge(uint64_t first, uint64_t last, uint8_t value)
{
    const struct loam_phys_range range = { loam_phys_at(first), last - first + 1 };
    return loam_usage_insert_merge(&usage, range, (enum loam_owner)value) == LOAM_OK;
}

static uint8_t usage_lookup(uint64_t at)
{
    struct loam_interval interval;
    return loam_usage_lookup(&usage, loam_phys_at(at), &interval) ? (uint8_t)interval.owner : 255;
}

static size_t usage_memory(void)
{
    const char *broken = loam_usage_audit(&usage);
    if (broken != NULL) {
        (void)fprintf(stderr, "bench-usage: %s\n", broken);
        exit(1);
    }
    return usage.node_frame_count * LOAM_PAGE_SIZE;
}

const struct bench_map bench_usage_loam[] = {
    { "usage", usage_init, usage_insert, usage_insert_merge, usage_lookup, usage_memory },
    { .name = NULL },
};

/* ---- what is no map ------------------------------------------------------------ */

static void empty_init(size_t interval_count)
{
    (void)interval_count;
}

static bool empty_insert(uint64_t first, uint64_t last, uint8_t value)
{
    return first <= last && value < LOAM_OWNERS;
}

static uint8_t empty_lookup(uint64_t at)
{
    (void)at;
    return 0;
}

static size_t empty_memory(void)
{
    return 1;
}

const struct bench_map bench_usage_empty[] = {
    { "empty", empty_init, empty_insert, empty_insert, empty_lookup, empty_memory },
    { .name = NULL },
};
