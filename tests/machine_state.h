/*
 * machine_state.h - the state of the simulated machine, for its own sources: machine.c
 * and machine_x86.c.
 */
#ifndef LOAM_TESTS_MACHINE_STATE_H
#define LOAM_TESTS_MACHINE_STATE_H

#include "machine_mmu.h"

#define PAGE      UINT64_C(4096)
#define RFLAGS_IF UINT64_C(0x200)
#define EFER_LME  UINT64_C(0x100)
#define EFER_LMA  UINT64_C(0x400)

struct sim_machine {
    uint64_t window, window_bytes; /* host address and size */
    uint64_t base;                 /* physical address at the window's start */
    struct loam_phys_range *ram;
    size_t ram_count;
    uint64_t broken_page; /* host address; 0: all hold */
    unsigned cpu_count;
    struct sim_cpu cpu[MACHINE_CPUS_MAX];
    pthread_mutex_t hook_mutex, log_mutex;
    _Atomic(unsigned) flush_count;
    struct loam_tlb_flush flush_last;
    bool flush_dropped, flush_everyone;
    void (*flush_visit)(const struct loam_tlb_flush *flush);
    void (*interrupt_visit)(void);
    bool log_on;
    char log[1 << 14];
    size_t log_used;
};

extern struct sim_machine sim;
extern _Thread_local unsigned sim_current_cpu;
extern _Thread_local bool sim_interrupts_on;

/* Fails the test if there is no such CPU. */
struct sim_cpu *sim_cpu_at(unsigned cpu);

bool sim_is_canonical(const struct machine_cpu *cpu, uint64_t virt);

/* Interrupts are on again. */
void sim_interrupt(void);

/* Into the log of machine_log(), if that is on. */
void sim_log_word(const char *word);
void sim_log_value(const char *name, uint64_t value);

#endif
