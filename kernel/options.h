/*
 * options.h - the words of the kernel's command line.
 *
 *   shell              a prompt instead of a run
 *   quiet, verbose     warnings and errors only; debug lines, too
 *   heap=BYTES         span of the heap (K, M, G); a heap of kind heap has none: it grows
 *   heap=KIND          bump, freelist, block, arena or heap
 *   heap-lock=KIND     spin or ticket; spin does not wait for a virtual CPU that the
 *                      host has stopped while its turn came
 *   heap-debug         watch every block: red zones, poison, who allocated it
 *   cpus=N             start this many CPUs
 *   probe              try all usable memory before it is used
 *   latecomer          change a mapping while a CPU comes online; see latecomer.h
 *   reclaim            give the bootloader's memory to the kernel first
 *   demo=NAME          this demo, and no other
 *   selftest           the self-test alone
 *   soak               100000 operations on page tables in it, not 10000
 *
 * Rules to break: what does the report look like?
 *   panic[=N]          CPU N panics, while all others are busy
 *   deaf               CPU 1 does not answer a request to flush its TLB
 *   doublefree         of a block on the heap
 *   heap-overflow      one byte behind a block
 *   heap-wrong-size    of a block that is freed with its size
 *   overflow           of the stack
 *   wildframe          a fault under a frame pointer that leads nowhere
 *   fault=[read:|write:|execute:]ADDRESS
 *
 * Without shell, demo, selftest and rules: every demo and the self-test.
 */
#ifndef KERNEL_OPTIONS_H
#define KERNEL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include <loam/locked.h>

enum options_access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXECUTE };

struct options {
    bool shell, quiet, verbose, probe, reclaim, selftest, soak, latecomer, panic, deaf, double_free,
        overflow, wild_frame, heap_debug, heap_overflow, heap_wrong_size;
    uint64_t panic_cpu;
    uint64_t heap_bytes; /* 0: the default */
    enum loam_allocator_kind heap_kind;
    enum loam_locked_kind heap_lock;
    uint64_t cpu_count; /* 0: all */
    char demo[32];      /* empty: none named */
    bool fault;
    enum options_access fault_access;
    uint64_t fault_address;
};

/**
 * @param bad receives the first word that is not understood, if any; room for
 *            OPTIONS_WORD_MAX characters
 *
 * @return false: there was one; the other words count all the same
 */
bool options_parse(struct options *options, const char *cmdline, char *bad);

#define OPTIONS_WORD_MAX 64u

/** Parse what follows fault=. @return false: not understood */
bool options_parse_fault(struct options *options, const char *text);

#endif
