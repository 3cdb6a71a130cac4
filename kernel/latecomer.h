/*
 * latecomer.h - a CPU that remembers a translation from before it came online.
 *
 *     boot CPU                        latecomer, not online yet
 *     map scratch to frame 1
 *     start it                        read scratch: its TLB holds frame 1
 *     map scratch to frame 2          (nobody asks it to flush)
 *     let it go on                    online, flush, read scratch: frame 2?
 *
 * Only with the option `latecomer`; without it all of this does nothing.
 */
#ifndef KERNEL_LATECOMER_H
#define KERNEL_LATECOMER_H

#include <stdbool.h>

/** On the boot CPU, before others start: map the page. @return false: cannot */
bool latecomer_invite(void);

/** On every other CPU, before it is online: the first one looks, and waits for the change. */
void latecomer_look(void);

/** On the boot CPU, once others start: make the change. */
void latecomer_change(void);

/** On every other CPU, when it is online: the one that looked looks again. */
void latecomer_look_again(void);

/** On the boot CPU: clean up. @return the second look saw the change, or there was none */
bool latecomer_dismiss(void);

#endif
