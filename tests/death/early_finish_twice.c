/* dies: early: finished once */
#include <loam/early.h>

int main(void)
{
    struct loam_memmap_entry entry = { { { 0x100000 }, 0x10000 }, LOAM_MEM_USABLE };
    const struct loam_memmap map = { .entry = &entry, .entry_count = 1 };
    struct loam_early_record records[4];
    struct loam_early early;
    if (loam_early_init(&early, &map, records, 4) != LOAM_OK)
        return 1;
    loam_early_finish(&early);
    loam_early_finish(&early);
    return 0;
}
