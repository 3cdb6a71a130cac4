/*
 * apic.h - the local interrupt controller of each CPU.
 */
#ifndef KERNEL_APIC_H
#define KERNEL_APIC_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Find out how it is driven, and map it; boot CPU, on our tables. Masks the PIC.
 *
 * @return false: there is none, or its page cannot be mapped: one CPU only
 */
bool apic_init(void);

/* Switch the running CPU's on. */
void apic_enable(void);

/* Id of the running CPU, as in the bootloader's list. */
uint32_t apic_id(void);

/* Does nothing without an APIC. */
void apic_end_of_interrupt(void);

/* @return false: the APIC is busy with an earlier command for too long, or there is
 * none: nothing was sent */
bool apic_send(uint32_t to, unsigned vector);
bool apic_send_nmi(uint32_t to);

/**
 * VECTOR_TIMER on the running CPU, a hundred times a second: apic_init() has measured
 * the timer's pace, which is that of all CPUs.
 *
 * @return false: there is no APIC, nothing ticks
 */
bool apic_timer_start(void);
void apic_timer_stop(void);

#endif
