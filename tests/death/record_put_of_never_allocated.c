/* dies: record: not allocated */
#include "record.h"

int main(void)
{
    struct loam_record record;
    if (!records(&record, false))
        return 1;
    (void)loam_record_put(&record, ram.start, 0);
    return 0;
}
