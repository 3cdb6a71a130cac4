/*
 * tlb.h - making other CPUs drop stale translations; the hook itself is in tlb.c.
 */
#ifndef KERNEL_TLB_H
#define KERNEL_TLB_H

/* Do what another CPU has asked this one to do, if anything. Interrupts off. For the
 * interrupt, and for who waits with interrupts off: the CPU that it waits for may
 * wait for this one. */
void tlb_serve(void);

#endif
