/* dies: record: direct map not from a boot adapter */
#include "record.h"

int main(void)
{
    struct loam_record record;
    struct loam_frame frame;
    static _Alignas(64) unsigned char memory[8192];
    struct loam_record_setup setup = { .frame = &frame, .poison = true };
    setup.memory = memory;
    setup.memory_bytes = sizeof memory;
    return !four_mib(&frame) || loam_record_init(&record, &setup) != LOAM_OK;
}
