/*
 * machine_world.h - a tree of page tables made by hand, and operations that must fail the
 * test: what the tests of the simulated machine share.
 */
#ifndef LOAM_TESTS_MACHINE_WORLD_H
#define LOAM_TESTS_MACHINE_WORLD_H

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <loam/x86.h>

#include "harness.h"
#include "machine.h"

#define P       UINT64_C(1)
#define W       UINT64_C(2)
#define U       UINT64_C(4)
#define A       UINT64_C(0x20)
#define D       UINT64_C(0x40)
#define PS      UINT64_C(0x80)
#define G       UINT64_C(0x100)
#define NX      (UINT64_C(1) << 63)
#define PRESENT (P | W | U)

/* Tables of a hand-made tree, one page each. */
#define PML5 UINT64_C(0x105000)
#define PML4 UINT64_C(0x101000)
#define PDPT UINT64_C(0x102000)
#define PD   UINT64_C(0x103000)
#define PT   UINT64_C(0x104000)
/* Translated by entry 1 of each of them. */
#define VIRT  UINT64_C(0x8040201000)
#define FRAME UINT64_C(0x7000)

static inline uint64_t get(uint64_t table, unsigned index)
{
    const uint64_t *const word = machine_ram(table + 8 * index);
    return *word;
}

static inline void set(uint64_t table, unsigned index, uint64_t entry)
{
    uint64_t *const word = machine_ram(table + 8 * index);
    *word = entry;
}

/* PML4[1] -> PDPT[1] -> PD[1] -> PT[1] -> FRAME, on all CPUs. */
static inline void small_tree(unsigned cpus)
{
    machine_reset(cpus);
    machine_add_ram(PML4, 0x5000);
    set(PML4, 1, PDPT | PRESENT);
    set(PDPT, 1, PD | PRESENT);
    set(PD, 1, PT | PRESENT);
    set(PT, 1, FRAME | PRESENT);
    for (unsigned i = 0; i < cpus; i++) {
        machine_cpu(i)->cr3 = PML4;
        machine_cpu(i)->efer |= LOAM_EFER_NXE;
        machine_cpu(i)->cr0 |= LOAM_CR0_WP;
    }
}

/* Does this test fail? In a process of its own, and silently. */
static inline bool fails(CMUnitTestFunction function, CMFixtureFunction setup)
{
    const struct CMUnitTest test[] = { { "forbidden", function, setup, NULL, NULL } };
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) == NULL || freopen("/dev/null", "w", stderr) == NULL)
            _exit(99);
        cmocka_set_test_filter(NULL);
        _exit(_cmocka_run_group_tests("forbidden", test, 1, NULL, NULL));
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
    return WEXITSTATUS(status) == 1;
}

#endif
