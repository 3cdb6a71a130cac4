/*
 * pressure.c - see pressure.h.
 */
#include <loam/pressure.h>

#include <loam/port.h>
#include <loam/x86.h>
#include <stdatomic.h>

#define PRESSURE_WAIT 4096u /* looks at another CPU's relieve() */

/* Whether low() was called. */
#define PRESSURE_ENOUGH  0u
#define PRESSURE_TELLING 1u
#define PRESSURE_TOLD    2u

void loam_pressure_init(struct loam_pressure *pressure, const struct loam_pressure_hooks *hooks)
{
    __builtin_memset(pressure, 0, sizeof(*pressure));
    if (hooks != NULL)
        pressure->hooks = *hooks;
}

uint64_t loam_pressure_interval(const struct loam_pressure *pressure, unsigned cpu_count)
{
    const uint64_t most = pressure->hooks.low_pages / 8 / cpu_count;

    if (pressure->hooks.low_pages == 0 || pressure->hooks.low == NULL)
        return 0;
    return most < 2 ? 1 : UINT64_C(1) << (63 ^ (unsigned)__builtin_clzll(most));
}

void loam_pressure_notice(struct loam_pressure *pressure, const struct loam_pressure_report *report)
{
    const uint64_t low = pressure->hooks.low_pages;

    if (pressure->hooks.low == NULL || low == 0)
        return;
    if (report->free_pages >= low) {
        uint32_t told = PRESSURE_TOLD;
        if (report->free_pages - low > low / 8)
            (void)atomic_compare_exchange_strong(&pressure->state, &told, PRESSURE_ENOUGH);
        return;
    }
    uint32_t enough = PRESSURE_ENOUGH;
    if (!atomic_compare_exchange_strong(&pressure->state, &enough, PRESSURE_TELLING))
        return;
    atomic_fetch_add(&pressure->low_count, 1);
    pressure->hooks.low(pressure->hooks.context, report);
    atomic_store(&pressure->state, PRESSURE_TOLD);
}

/* Wait until nobody relieves, but not for long. */
static void pressure_wait(const struct loam_pressure *pressure)
{
    for (unsigned look = 0; look < PRESSURE_WAIT; look++) {
        if (atomic_load(&pressure->relieving) == 0)
            return;
        loam_x86_pause();
    }
}

bool loam_pressure_relieve(struct loam_pressure *pressure,
                           const struct loam_pressure_report *report)
{
    const uint32_t mine = loam_port_cpu() + 1;
    uint32_t nobody = 0;

    if (pressure->hooks.relieve == NULL || report->attempt >= LOAM_PRESSURE_TRIES)
        return false;
    if (!atomic_compare_exchange_strong(&pressure->relieving, &nobody, mine)) {
        if (nobody == mine)
            return false; /* from within relieve(), or a handler that interrupted it */
        pressure_wait(pressure);
        return true;
    }
    atomic_fetch_add(&pressure->relieve_count, 1);
    const bool again = pressure->hooks.relieve(pressure->hooks.context, report);
    atomic_store(&pressure->relieving, 0);
    return again;
}
