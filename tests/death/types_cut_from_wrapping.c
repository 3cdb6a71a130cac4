/* dies: types: a range to cut from ends at or below 2^64 */
#include <loam/types.h>

int main(void)
{
    const struct loam_phys_range fine = loam_phys_range_of(loam_phys_at(0x1000), 0x1000);
    const struct loam_phys_range wrapping = loam_phys_range_of(loam_phys_at(UINT64_MAX), 2);
    struct loam_phys_range rest[2];
    return loam_phys_range_cut(wrapping, fine, rest) != 0;
}
