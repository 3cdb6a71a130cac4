/*
 * address.h - what is known about a virtual address: for reports of faults.
 */
#ifndef KERNEL_ADDRESS_H
#define KERNEL_ADDRESS_H

#include <loam/names.h>
#include <stdbool.h>
#include <stdint.h>

/* Names of the kernel's addresses, for the library's dumps and reports. */
struct address_book {
    struct loam_image image; /* phys_base and virt_base are 0: not known */
    struct loam_names names;
};

/* Fill it; must not move then. After loam_init(), any context; takes no lock. */
void address_open(struct address_book *book);

/* Fill it, where the image lies in memory, too: asks the page tables. */
void address_open_all(struct address_book *book);

/** Is it mapped, so that there is something to tell? False too while page tables change. */
bool address_is_known(uint64_t address);

/*
 * Log, as errors, what is mapped there and who owns the memory behind it. All
 * other CPUs stand still. Where one of them, or we, hold a lock that is needed,
 * it says so instead.
 */
void address_describe(uint64_t address);

#endif
