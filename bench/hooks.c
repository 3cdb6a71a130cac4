/*
 * hooks.c - the three hooks, as programs of one thread have them; a benchmark may have
 * its own CPU number and TLB flush.
 */
#include <loam/port.h>
#include <stdio.h>
#include <stdlib.h>

void loam_port_panic(const struct loam_panic *panic)
{
    (void)fprintf(stderr, "panic: %s (%#llx, %llu) at %s:%d\n", panic->rule,
                  (unsigned long long)panic->subject, (unsigned long long)panic->detail,
                  panic->file, panic->line);
    abort();
}

__attribute__((weak)) unsigned loam_port_cpu(void)
{
    return 0;
}

__attribute__((weak)) void loam_port_tlb_flush(const struct loam_tlb_flush *flush)
{
    (void)flush;
}
