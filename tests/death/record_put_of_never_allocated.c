/* dies: record: not allocated */
#include "record.h"

int main(void)
{
    records(false);
    (void)loam_record_put(&record, ram.start, 0);
    return 0;
}
