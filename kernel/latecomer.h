/*
 * latecomer.h - a CPU that is asked to flush before it can be interrupted.
 *
 *     boot CPU                        latecomer: its APIC is off
 *     map scratch to frame 1
 *     start it                        read scratch: its TLB holds frame 1
 *     unmap scratch: ask it, wait     is asked; the IPI is lost
 *                                     APIC on, serve
 *     map scratch to frame 2          read scratch: frame 2?
 *
 * Only with the option `latecomer`; without it all of this does nothing.
 */
#ifndef KERNEL_LATECOMER_H
#define KERNEL_LATECOMER_H

#include <stdbool.h>

/** On the boot CPU, before others start: map the page. @return false: cannot */
bool latecomer_invite(void);

/** On every other CPU, before its APIC is on: the first one looks, and waits to be asked. */
void latecomer_look(void);

/** On the boot CPU, once others start: make the change. */
void latecomer_change(void);

/** On every other CPU, when it has served: the one that looked looks again, after the change. */
void latecomer_look_again(void);

/** On the boot CPU: clean up. @return the second look saw the change, or there was none */
bool latecomer_dismiss(void);

#endif
