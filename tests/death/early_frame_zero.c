/* dies: early: frame 0 of the map is not usable */
#include <loam/early.h>

int main(void)
{
    struct loam_memmap_entry entry = { { { 0 }, 0x10000 }, LOAM_MEM_USABLE };
    const struct loam_memmap map = { .entry = &entry, .entry_count = 1 };
    struct loam_early_record records[4];
    struct loam_early early;
    return loam_early_init(&early, &map, records, 4) == LOAM_OK;
}
