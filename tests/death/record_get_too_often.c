/* dies: record: too many references */
#include "record.h"

int main(void)
{
    records(false);
    const loam_phys block = loam_record_alloc(&record, 0, LOAM_ZONE_ANY);
    /* As many as a word can hold: the rest would take a second. */
    record.main.word[(block.addr - ram.start.addr) / LOAM_PAGE_SIZE] += LOAM_RECORD_COUNT_MAX - 1;
    loam_record_get(&record, block);
    return 0;
}
