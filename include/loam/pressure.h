/*
 * pressure.h - the kernel is told when memory becomes scarce, and asked for some when
 * there is none left.
 *
 *     free pages  ~~~~~.
 *     low + 1/8   ------\------------/---- from here on it may be low again
 *     low         -------\----------/----- low(): once
 *     0                   \________/       relieve(): then the request is tried again
 *
 * Neither is called while it is at work: what the kernel allocates in low() is not
 * reported, what it allocates in relieve() fails if there is nothing left.
 */
#ifndef LOAM_PRESSURE_H
#define LOAM_PRESSURE_H

#include "frame.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOAM_PRESSURE_TRIES 8u /* calls of relieve() for one request */

struct loam_pressure_report {
    enum loam_zone zone;   /* that the request asked for */
    uint64_t wanted_pages; /* that it asked for, together */
    uint64_t free_pages;   /* in all zones, about now */
    unsigned attempt;      /* 0: first call for this request */
};

/*
 * Context of both: that of the request, interrupt handlers too if the kernel allocates
 * there; no lock of the library is held. They may allocate and free. While relieve() is
 * at work, another request on the same CPU fails at once: turn pre-emption off in it.
 */
struct loam_pressure_hooks {
    void *context;
    uint64_t low_pages; /* 0: low() is not called */

    /* Fewer than low_pages are free; NULL: not wanted. */
    void (*low)(void *context, const struct loam_pressure_report *report);

    /* Give something back. Return true to have the request tried again, whatever was
     * freed; NULL: requests fail. */
    bool (*relieve)(void *context, const struct loam_pressure_report *report);
};

/* Read-only outside pressure.c. */
struct loam_pressure {
    struct loam_pressure_hooks hooks;
    LOAM_ATOMIC(uint32_t) state;     /* whether low() was called, or is at work */
    LOAM_ATOMIC(uint32_t) relieving; /* CPU + 1 whose request calls relieve(), or 0 */
    LOAM_ATOMIC(uint64_t) low_count; /* calls of low() */
    LOAM_ATOMIC(uint64_t) relieve_count;
};

/** Start. @param hooks copied; NULL: none. Context: before anybody uses it, or when quiet. */
void loam_pressure_init(struct loam_pressure *pressure, const struct loam_pressure_hooks *hooks);

/**
 * How many pages may be taken between two calls of loam_pressure_notice() by each of so many
 * CPUs, so that low() comes at most an eighth late: a power of two; 0: need not be called.
 */
LOAM_NODISCARD uint64_t loam_pressure_interval(const struct loam_pressure *pressure,
                                               unsigned cpu_count);

/** Memory was taken: call low() if it has become scarce. */
void loam_pressure_notice(struct loam_pressure *pressure,
                          const struct loam_pressure_report *report);

/**
 * A request has failed: call relieve(). While another CPU's request does, wait for it, but
 * not for long.
 *
 * @param report its attempt is how often this was called for the request
 *
 * @return true: try again; false: fail
 */
LOAM_NODISCARD bool loam_pressure_relieve(struct loam_pressure *pressure,
                                          const struct loam_pressure_report *report);

#ifdef __cplusplus
}
#endif
#endif
