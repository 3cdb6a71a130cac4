/* dies: zero: direct map not from a boot adapter */
#include <loam/zero.h>

int main(void)
{
    static const struct loam_zero_setup setup = { .hhdm = { UINT64_C(0xffff800000000000), 0 } };
    struct loam_zero_pool pool;
    return loam_zero_init(&pool, &setup) == LOAM_OK;
}
