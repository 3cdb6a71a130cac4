/*
 * ledger.c - see ledger.h.
 *
 * Taken and given are counted apart, and who sums up reads all that was given first.
 * A frame is counted as taken before it can be counted as given, so whatever gift is
 * in the sum, its taking is too: the difference is never below the truth, however
 * many count meanwhile. It may be above, by what is taken in between.
 */
#include <loam/ledger.h>

#include "internal/check.h"
#include "internal/digest.h"

#include <stdatomic.h>

#define LEDGER_LINE_ALIGN 64u

struct ledger_pair {
    _Atomic uint64_t taken;
    _Atomic uint64_t given;
};

struct loam_ledger_line {
    struct ledger_pair owner[LOAM_OWNERS];
    struct ledger_pair unused[16 - LOAM_OWNERS]; /* no two CPUs share a cache line */
};

LOAM_STATIC_ASSERT(sizeof(struct loam_ledger_line) % LEDGER_LINE_ALIGN == 0,
                   "lines are whole cache lines");

size_t loam_ledger_bytes_needed(unsigned cpu_count)
{
    if (cpu_count == 0 || cpu_count > LOAM_CPUS_MAX)
        return 0;
    return cpu_count * sizeof(struct loam_ledger_line);
}

enum loam_status loam_ledger_init(struct loam_ledger *ledger, unsigned cpu_count, void *memory,
                                  size_t memory_bytes)
{
    const size_t needed = loam_ledger_bytes_needed(cpu_count);

    if (needed == 0 || memory == NULL || (uintptr_t)memory % LEDGER_LINE_ALIGN != 0)
        return LOAM_INVALID;
    if (memory_bytes < needed)
        return LOAM_NO_SPACE;
    __builtin_memset(memory, 0, needed);
    ledger->line = (struct loam_ledger_line *)memory;
    ledger->line_count = cpu_count;
    return LOAM_OK;
}

/* The running CPU's own numbers of an owner. */
static struct ledger_pair *ledger_own(struct loam_ledger *ledger, enum loam_owner owner,
                                      uint64_t frame_count)
{
    const unsigned cpu = loam_port_cpu();

    LOAM_REQUIRE((unsigned)owner < LOAM_OWNERS, "ledger: unknown owner", (unsigned)owner,
                 frame_count);
    return &ledger->line[cpu < ledger->line_count ? cpu : cpu % ledger->line_count].owner[owner];
}

/* Frames of an owner; modulo 2^64, so that what is below zero can be seen. */
static uint64_t ledger_difference(const struct loam_ledger *ledger, unsigned owner)
{
    uint64_t given = 0;
    uint64_t taken = 0;

    for (unsigned i = 0; i < ledger->line_count; i++)
        given += atomic_load(&ledger->line[i].owner[owner].given);
    for (unsigned i = 0; i < ledger->line_count; i++)
        taken += atomic_load(&ledger->line[i].owner[owner].taken);
    return taken - given;
}

static bool ledger_is_negative(uint64_t difference)
{
    return difference >> 63 != 0;
}

uint64_t loam_ledger_add(struct loam_ledger *ledger, enum loam_owner owner, uint64_t frame_count)
{
    return atomic_fetch_add(&ledger_own(ledger, owner, frame_count)->taken, frame_count);
}

bool loam_ledger_sub(struct loam_ledger *ledger, enum loam_owner owner, uint64_t frame_count)
{
    struct ledger_pair *const own = ledger_own(ledger, owner, frame_count);
    const uint64_t before = atomic_fetch_add(&own->given, frame_count);
    const uint64_t taken = atomic_load(&own->taken);

    if (before + frame_count <= taken || before > taken)
        return true; /* covered by what this CPU took, or looked at earlier */
    if (!ledger_is_negative(ledger_difference(ledger, (unsigned)owner)))
        return true;
    atomic_fetch_sub(&own->given, frame_count);
    return false;
}

uint64_t loam_ledger_total(const struct loam_ledger *ledger, enum loam_owner owner)
{
    LOAM_REQUIRE((unsigned)owner < LOAM_OWNERS, "ledger: unknown owner", (unsigned)owner, 0);

    const uint64_t difference = ledger_difference(ledger, (unsigned)owner);
    return ledger_is_negative(difference) ? 0 : difference;
}

uint64_t loam_ledger_sum(const struct loam_ledger *ledger)
{
    uint64_t sum = 0;

    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++)
        sum += loam_ledger_total(ledger, (enum loam_owner)owner);
    return sum;
}

const char *loam_ledger_audit(const struct loam_ledger *ledger)
{
    if (ledger->line == NULL || ledger->line_count == 0)
        return "ledger: there are no lines";
    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++)
        if (ledger_is_negative(ledger_difference(ledger, owner)))
            return "ledger: an owner has given back more frames than he took";
    return NULL;
}

uint64_t loam_ledger_digest(const struct loam_ledger *ledger)
{
    uint64_t digest = LOAM_DIGEST_START;

    for (unsigned owner = 0; owner < LOAM_OWNERS; owner++)
        digest = loam_digest_add(digest, ledger_difference(ledger, owner));
    return digest;
}
