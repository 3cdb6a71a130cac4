/*
 * tlb.h - making other CPUs drop stale translations; the hook itself is in tlb.c.
 */
#ifndef KERNEL_TLB_H
#define KERNEL_TLB_H

#include <loam/port.h>

/* Do what another CPU has asked this one to do, if anything. Interrupts off. For the
 * interrupt, and for who waits with interrupts off: the CPU that it waits for may
 * wait for this one. */
void tlb_serve(void);

/* What sees each request that is served, before its initiator goes on. Context: interrupts
 * off, on the CPU that was asked. */
typedef void (*tlb_watch)(const struct loam_tlb_flush *flush);

/* Set it for all CPUs. @param watch NULL: nobody looks */
void tlb_set_watch(tlb_watch watch);

#endif
