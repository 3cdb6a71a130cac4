/*
 * stress.h - all CPUs and their interrupt handlers in the same code at once: what such
 * self-tests share.
 *
 *     CPU 0  make, mark ----> mailbox of CPU 2 ----> CPU 2  check, take apart
 *            ^ timer, IPI                            ^ timer, IPI
 *            handler does the same                   handler does the same
 *
 * A job says what is made and how it is taken apart, and how much is enough. Its work
 * runs on every CPU, in rounds:
 *
 *     struct stress_hand *hand = stress_begin();
 *     for (uint64_t round = 0; stress_goes_on(hand, round); round++)
 *         ...
 *     stress_end();
 *
 * An interrupt counts as inside if the instruction it stopped is one of the job's
 * (kernel.ld gathers them). The same job has the same random numbers in every run.
 */
#ifndef KERNEL_STRESS_H
#define KERNEL_STRESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu.h"

#define STRESS_SLOTS_MAX 128u

/* Each CPU has one, and another for its handlers: these come at any time. */
struct stress_hand {
    uint64_t random;
    uint64_t begin; /* time stamp of stress_begin() */
    void *kept;     /* by the handlers, until the next one */
};

struct stress_job {
    cpu_work work; /* on every CPU, interrupts on; its argument is NULL */

    /* What a handler makes; NULL: there is nothing to have. NULL in place of the
     * function: handlers are counted, and take no part. */
    void *(*make)(struct stress_hand *hand);

    /* Check something that was made, by any CPU, and give it back. Also in handlers if
     * these make something. NULL: nothing is sent. */
    void (*take_apart)(struct stress_hand *hand, void *parcel);

    bool (*is_enough)(void); /* besides the numbers below; NULL: these are enough */

    uint64_t rounds;      /* of each CPU, and more until it is enough */
    uint64_t rounds_sure; /* of each CPU, even after cycles_max */
    uint64_t cycles_max;  /* then give up */
    unsigned inside_min;  /* interrupts between text_start and text_end; see stress_wanted() */
    unsigned cross_min;   /* parcels taken apart by another CPU than made them; the same */
    unsigned slots;       /* of each CPU's mailbox; 0..STRESS_SLOTS_MAX */
    const char *text_start, *text_end; /* instructions that this is about; or NULL */
};

/* What has happened since stress_run() began. */
struct stress_counts {
    _Atomic(uint64_t) round, made, freed, refused; /* the last three: counted by the job */
    _Atomic(unsigned) wrong, cross, inside, handler;
};

extern struct stress_counts stress_counts;

/**
 * Run a job and wait for its end on all CPUs: no handler is at work any more. What is
 * in mailboxes and kept by handlers stays there.
 *
 * @param job borrowed until stress_free_the_rest(), or the next job
 */
void stress_run(const struct stress_job *job);

/** Take apart what is left in mailboxes and kept by handlers. */
void stress_free_the_rest(void);

/** @return was all wanted reached? */
bool stress_is_enough(void);

/** @return @p least; 0 on a machine of one CPU: it has nobody to send to, and is
 * interrupted by its timer only */
unsigned stress_wanted(unsigned least);

/* ---- in a job's work --------------------------------------------------------- */

/* The running CPU's hand; not in handlers. */
struct stress_hand *stress_hand(void);

/** Start the running CPU's timer. @return stress_hand() */
struct stress_hand *stress_begin(void);

/** Begin a round; now and then, interrupt some CPU. @return false: it was the last one */
bool stress_goes_on(struct stress_hand *hand, uint64_t round);

/** Stop the timer. */
void stress_end(void);

/* ---- there, and in handlers --------------------------------------------------- */

uint64_t stress_random(struct stress_hand *hand);

void stress_count(_Atomic(uint64_t) *what);

/** Count what is wrong. */
void stress_expect(bool holds);

/** Count a parcel that is taken apart. @param cpu index of the one that made it */
void stress_count_from(unsigned cpu);

/** To any CPU; what was in that slot of its mailbox is taken apart here. */
void stress_send(struct stress_hand *hand, void *parcel);

/** Take apart what was sent to the running CPU. */
void stress_receive(struct stress_hand *hand);

#endif
