/*
 * smp.h - the other CPUs: starting them, giving them work.
 */
#ifndef KERNEL_SMP_H
#define KERNEL_SMP_H

#include <loam/boot/limine_protocol.h>

#include "cpu.h"

/**
 * Know the machine's CPUs, from the bootloader's answer; nothing runs yet.
 *
 * @param mp NULL: one CPU
 * @param most keep this many; 0: as many as LOAM_CPUS_MAX
 */
void smp_count(const struct loam_limine_mp_response *mp, uint64_t most);

/**
 * Start every CPU and wait until each has said hello or will not.
 *
 * @return false: one of them does not run
 */
bool smp_start(const struct loam_limine_mp_response *mp);

/** Does every CPU of the machine run on our tables, stacks and descriptor tables? */
bool smp_left_the_bootloader(void);

/* Let a CPU that sleeps look for work. */
void smp_wake(unsigned index);

/* Give work to another CPU, if it is ready and has none; nobody waits for it. */
void smp_hand_over(unsigned index, cpu_work work, void *argument);

/* Run work on one CPU, or on every one that is ready, and wait for its end. With
 * interrupts on; one caller at a time. Work runs with interrupts on. */
void smp_run_on(unsigned cpu, cpu_work work, void *argument);
void smp_run_all(cpu_work work, void *argument);

/** Stop all other CPUs for good. In a panic; any context. @return how many stand still */
unsigned smp_stop_others(void);

#endif
