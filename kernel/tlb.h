/*
 * tlb.h - making every CPU drop stale translations; the hook itself is in tlb.c.
 */
#ifndef KERNEL_TLB_H
#define KERNEL_TLB_H

/* Do what another CPU has asked this one to do, if anything. Interrupts off. */
void tlb_serve(void);

#endif
