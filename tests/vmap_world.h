/*
 * vmap_world.h - a machine on whose CPUs vmap's mappings can be used. Shared by the tests
 * of vmap.c.
 */
#ifndef LOAM_TESTS_VMAP_WORLD_H
#define LOAM_TESTS_VMAP_WORLD_H

#include "loam_world.h"

#define PAGES(n) ((uint64_t)(n)*LOAM_PAGE_SIZE)

/* Every CPU runs on mm's tables; the calling thread is CPU 0. */
static inline void enter_all(unsigned cpus)
{
    assert_int_equal(loam_init(&mm, &boot, &refusal), LOAM_OK);
    for (unsigned cpu = cpus; cpu-- > 0;) {
        machine_set_cpu(cpu);
        assert_int_equal(loam_enter(&mm), LOAM_OK);
    }
}

static inline void vmap_machine(unsigned cpus)
{
    small_machine(cpus);
    enter_all(cpus);
}

static inline void check_sound(void)
{
    const char *broken = loam_audit(&mm);
    if (broken != NULL)
        fail_msg("audit: %s", broken);
    assert_null(broken);
}

static inline struct loam_vmap_request memory_of(uint64_t size_bytes)
{
    const struct loam_vmap_request request = {
        .size_bytes = size_bytes,
        .attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB },
        .name = "memory",
    };
    return request;
}

/* Allocate; it must work. */
static inline loam_virt alloc(const struct loam_vmap_request *request)
{
    loam_virt at = loam_virt_at(42);
    assert_int_equal(loam_vmap_alloc(&mm, request, &at), LOAM_OK);
    assert_true(loam_is_page_aligned(at.addr));
    return at;
}

static inline loam_virt alloc_bytes(uint64_t size_bytes)
{
    const struct loam_vmap_request request = memory_of(size_bytes);
    return alloc(&request);
}

/* What a CPU sees at an address. */
static inline enum machine_fault fault_at(unsigned cpu, uint64_t at, unsigned kind)
{
    return machine_access(cpu, at, kind).fault;
}

/* The byte behind an address, by way of a CPU. */
static inline unsigned char *byte_at(unsigned cpu, uint64_t at)
{
    const struct machine_access access = machine_access(cpu, at, MACHINE_WRITE);
    assert_int_equal(access.fault, MACHINE_OK);
    return machine_ram(access.phys);
}

/* All pages of [at, at + bytes) can be written on every CPU, and its neighbours cannot be
 * read. */
static inline void expect_mapped_alone(uint64_t at, uint64_t bytes)
{
    for (unsigned cpu = 0; cpu < machine_cpu_count(); cpu++) {
        for (uint64_t page = at; page < at + bytes; page += LOAM_PAGE_SIZE)
            assert_int_equal(fault_at(cpu, page, MACHINE_WRITE), MACHINE_OK);
        assert_int_equal(fault_at(cpu, at - 1, MACHINE_READ), MACHINE_NOT_PRESENT);
        assert_int_equal(fault_at(cpu, at + bytes, MACHINE_READ), MACHINE_NOT_PRESENT);
        assert_int_equal(fault_at(cpu, at, MACHINE_EXEC), MACHINE_PROTECTION);
    }
}

static inline void expect_unmapped(uint64_t at, uint64_t bytes)
{
    for (unsigned cpu = 0; cpu < machine_cpu_count(); cpu++) {
        for (uint64_t page = at; page < at + bytes; page += LOAM_PAGE_SIZE)
            assert_int_equal(fault_at(cpu, page, MACHINE_READ), MACHINE_NOT_PRESENT);
    }
}

static inline struct loam_vmap_place find(uint64_t at)
{
    struct loam_vmap_place place;
    loam_vmap_find(&mm, loam_virt_at(at), &place);
    return place;
}

/* The call was refused: nothing is other than it was. */
#define EXPECT_REFUSED(call, why)                    \
    do {                                             \
        const uint64_t digest_ = loam_digest(&mm);   \
        assert_int_equal((call), (why));             \
        assert_int_equal(loam_digest(&mm), digest_); \
        check_sound();                               \
    } while (0)

#endif
