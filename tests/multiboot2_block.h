/*
 * multiboot2_block.h - build Multiboot2 information blocks and hand them over.
 * Shared by the tests of boot/multiboot2.h.
 *
 * The block is handed over in heap memory of exactly its size: the address
 * sanitizer sees every byte read beyond it.
 */
#ifndef LOAM_TESTS_MULTIBOOT2_BLOCK_H
#define LOAM_TESTS_MULTIBOOT2_BLOCK_H

#include "harness.h"

#include <stdlib.h>
#include <string.h>

#include <loam/boot/multiboot2.h>

#define INFO UINT64_C(0x14000) /* physical address of the block */
#define ROOM 64u
LOAM_BOOT_STORAGE(storage, ROOM);

static struct loam_boot boot;
static struct loam_refusal refusal;
static struct loam_mb2_boot request;

/* ---- building a block ---------------------------------------------------- */

static unsigned char block[16384];
static uint32_t used;

static inline void put32(uint32_t at, uint64_t value)
{
    for (unsigned i = 0; i < 4; i++)
        block[at + i] = (unsigned char)(value >> 8 * i);
}

static inline void put64(uint32_t at, uint64_t value)
{
    put32(at, value & UINT32_MAX);
    put32(at + 4, value >> 32);
}

static inline void begin(void)
{
    memset(block, 0xee, sizeof block);
    memset(&request, 0, sizeof request);
    request.magic = 0x36d76289;
    request.info = loam_phys_at(INFO);
    put32(4, 0);
    used = 8;
}

/* Append a tag. @return where it starts */
static inline uint32_t tag(uint32_t type, uint32_t size)
{
    const uint32_t at = used;
    put32(at, type);
    put32(at + 4, size);
    used += (size + 7) / 8 * 8;
    assert_true(used < sizeof block - 64);
    return at;
}

static inline uint32_t memmap(uint32_t entry_size, uint32_t count)
{
    const uint32_t at = tag(6, 16 + entry_size * count);
    put32(at + 8, entry_size);
    put32(at + 12, 0);
    return at;
}

static inline void memmap_entry(uint32_t map, uint32_t index, uint64_t base, uint64_t length,
                                uint32_t type)
{
    const uint32_t at = map + 16 + index * (uint32_t)block[map + 8];
    put64(at, base);
    put64(at + 8, length);
    put32(at + 16, type);
}

static inline uint32_t efi_memmap(uint32_t entry_size, uint32_t count)
{
    const uint32_t at = tag(17, 16 + entry_size * count);
    put32(at + 8, entry_size);
    put32(at + 12, 1);
    return at;
}

static inline void efi_entry(uint32_t map, uint32_t index, uint32_t type, uint64_t start,
                             uint64_t pages, uint64_t attributes)
{
    const uint32_t at = map + 16 + index * (uint32_t)block[map + 8];
    put32(at, type);
    put64(at + 8, start);
    put64(at + 24, pages);
    put64(at + 32, attributes);
}

static inline void module(uint32_t start, uint32_t end)
{
    const uint32_t at = tag(3, 16 + 5);
    put32(at + 8, start);
    put32(at + 12, end);
    memcpy(block + at + 16, "name", 5);
}

static inline void framebuffer(uint64_t address, uint32_t pitch, uint32_t height, uint32_t size)
{
    const uint32_t at = tag(8, size);
    put64(at + 8, address);
    put32(at + 16, pitch);
    put32(at + 20, pitch / 4);
    put32(at + 24, height);
}

static inline void finish(void)
{
    tag(0, 8);
    put32(0, used);
}

/* One usable mebibyte and the end: the smallest block that is accepted. */
static inline void small_block(void)
{
    begin();
    memmap_entry(memmap(24, 1), 0, 0x100000, 0x100000, 1);
    finish();
}

/* ---- handing it over ----------------------------------------------------- */

static inline enum loam_status call(const struct loam_boot_storage *where, struct loam_refusal *why)
{
    unsigned char *exact = malloc(used);
    assert_non_null(exact);
    memcpy(exact, block, used);
    request.mapped.hhdm_offset = (uint64_t)(uintptr_t)exact - request.info.addr;
    const enum loam_status st = loam_boot_multiboot2(&boot, where, &request, why);
    assert_memory_equal(exact, block, used); /* nothing of the bootloader's is written */
    free(exact);
    return st;
}

static inline void accept(void)
{
    memset(&boot, 0x5a, sizeof boot);
    refusal.rule = "untouched";
    const enum loam_status st = call(&storage, &refusal);
    if (st != LOAM_OK)
        print_error("refused: %s (%#lx, %#lx)\n", refusal.rule, (unsigned long)refusal.have,
                    (unsigned long)refusal.need);
    assert_int_equal(st, LOAM_OK);
    assert_string_equal(refusal.rule, "untouched");
}

static inline void expect_entry(size_t index, uint64_t base, uint64_t length,
                                enum loam_mem_type type)
{
    assert_true(index < boot.raw_count);
    assert_int_equal(storage.raw[index].range.start.addr, base);
    assert_int_equal(storage.raw[index].range.size, length);
    assert_int_equal(storage.raw[index].type, type);
}

/* ---- random blocks ------------------------------------------------------- */

struct wanted {
    struct loam_memmap_entry entry[ROOM];
    size_t count;
};

static inline void want(struct wanted *wanted, uint64_t start, uint64_t size,
                        enum loam_mem_type type)
{
    wanted->entry[wanted->count].range = loam_phys_range_of(loam_phys_at(start), size);
    wanted->entry[wanted->count++].type = type;
}

/* A random block, and the entries it must give, in order. */
static inline void random_block(struct wanted *wanted)
{
    const bool efi = test_random_below(2) != 0;
    const uint64_t maps_at = test_random_below(6);
    wanted->count = 0;
    begin();
    want(wanted, INFO, 0, LOAM_MEM_BOOT_RECLAIMABLE);
    for (unsigned i = 0; i < 6; i++) {
        const uint32_t start = (uint32_t)test_random() / 2;
        const uint32_t size = (uint32_t)test_random() / 2;
        const uint32_t stride = 40 + 8 * (uint32_t)test_random_below(4);
        if (i == maps_at) {
            const uint32_t bios = memmap(24, 2);
            memmap_entry(bios, 0, start, size, 1);
            memmap_entry(bios, 1, size, start, 5);
            if (!efi) {
                want(wanted, start, size, LOAM_MEM_USABLE);
                want(wanted, size, start, LOAM_MEM_BAD);
            }
        } else if (i == 5 - maps_at && efi) {
            const uint32_t map = efi_memmap(stride, 2);
            efi_entry(map, 0, 7, start, size, 8);
            efi_entry(map, 1, 10, size, start, 8);
            want(wanted, start, (uint64_t)size << 12, LOAM_MEM_USABLE);
            want(wanted, size, (uint64_t)start << 12, LOAM_MEM_ACPI_NVS);
        } else if (test_random_below(3) == 0) {
            module(start, start + size);
            want(wanted, start, size, LOAM_MEM_EXECUTABLE);
        } else if (test_random_below(3) == 0) {
            framebuffer(start, size, start, 31 + (uint32_t)test_random_below(20));
            want(wanted, start, (uint64_t)size * start, LOAM_MEM_FRAMEBUFFER);
        } else {
            tag(100 + (uint32_t)test_random_below(9), 8 + (uint32_t)test_random_below(40));
        }
    }
    finish();
    wanted->entry[0].range.size = used;
}

#endif
