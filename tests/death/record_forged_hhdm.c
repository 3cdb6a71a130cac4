/* dies: record: direct map not from a boot adapter */
#include "record.h"

int main(void)
{
    static _Alignas(64) unsigned char memory[8192];
    struct loam_record_setup setup = { .frame = &frame, .poison = true };
    setup.memory = memory;
    setup.memory_bytes = sizeof memory;
    four_mib();
    return loam_record_init(&record, &setup) != LOAM_OK;
}
