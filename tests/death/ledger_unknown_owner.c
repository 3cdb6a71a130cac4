/* dies: ledger: unknown owner */
#include <loam/ledger.h>

#include "machine.h"

int main(void)
{
    static _Alignas(64) unsigned char memory[1024];
    struct loam_ledger ledger;
    machine_reset(1);
    if (loam_ledger_init(&ledger, 1, memory, sizeof memory) != LOAM_OK)
        return 1;
    loam_ledger_add(&ledger, (enum loam_owner)LOAM_OWNERS, 1);
    return 0;
}
