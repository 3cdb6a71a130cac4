/*
 * address.h - what is known about a virtual address: for reports of faults.
 */
#ifndef KERNEL_ADDRESS_H
#define KERNEL_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

/** Is it mapped, so that there is something to tell? False too while page tables change. */
bool address_is_known(uint64_t address);

/*
 * Log, as errors, what is mapped there and who owns the memory behind it. All
 * other CPUs stand still. Where one of them, or we, hold a lock that is needed,
 * it says so instead.
 */
void address_describe(uint64_t address);

/* "rwx" of a protection: what is denied is a dash. */
struct address_rights {
    char text[4];
};
struct address_rights address_rights_of(unsigned prot);

/** Name of a cache type. @param cache enum loam_cache, any value @return never NULL */
const char *address_cache_name(unsigned cache);

#endif
