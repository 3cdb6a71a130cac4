/*
 * sim_host.c - see sim_host.h.
 */
#include "sim_host.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECOND UINT64_C(1000000000)

uint64_t sim_host_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* Present and mapped by us alone, which the zero page is not: Linux,
 * Documentation/admin-guide/mm/pagemap.rst. */
#define PAGEMAP_WRITTEN (UINT64_C(1) << 63 | UINT64_C(1) << 56)
#define PAGEMAP_MANY    512u

uint64_t sim_host_touched(const void *start, uint64_t size)
{
    uint64_t entry[PAGEMAP_MANY];
    uint64_t page = (uint64_t)(uintptr_t)start / LOAM_PAGE_SIZE;
    uint64_t left = size / LOAM_PAGE_SIZE;
    uint64_t written = 0;
    const int file = open("/proc/self/pagemap", O_RDONLY);
    if (file < 0)
        return UINT64_MAX;
    while (left != 0) {
        const uint64_t many = left < PAGEMAP_MANY ? left : PAGEMAP_MANY;
        const ssize_t got = pread(file, entry, many * sizeof entry[0], (off_t)(page * 8));
        if (got != (ssize_t)(many * sizeof entry[0]))
            break;
        for (uint64_t i = 0; i < many; i++)
            written += (entry[i] & PAGEMAP_WRITTEN) == PAGEMAP_WRITTEN;
        page += many;
        left -= many;
    }
    close(file);
    return left == 0 ? written * LOAM_PAGE_SIZE : UINT64_MAX;
}

uint64_t sim_host_peak(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss << 10;
}

/* ---- progress ------------------------------------------------------------- */

static struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    const char *step;
    uint64_t total;
    _Atomic uint64_t done;
    bool is_running;
} progress = { .mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER };

static void *show_progress(void *unused)
{
    struct timespec until;
    unsigned seconds = 0;
    (void)unused;
    clock_gettime(CLOCK_REALTIME, &until);
    pthread_mutex_lock(&progress.mutex);
    while (progress.is_running) {
        until.tv_sec++;
        while (progress.is_running &&
               pthread_cond_timedwait(&progress.wake, &progress.mutex, &until) == 0)
            ;
        if (!progress.is_running)
            break;
        fprintf(stderr, "loam-sim: %u s, %s", ++seconds, progress.step);
        if (progress.total != 0)
            fprintf(stderr, ": %" PRIu64 " of %" PRIu64 " steps", progress.done, progress.total);
        fprintf(stderr, "\n");
    }
    pthread_mutex_unlock(&progress.mutex);
    return NULL;
}

void sim_progress_start(void)
{
    progress.step = "start";
    progress.is_running = true;
    if (pthread_create(&progress.thread, NULL, show_progress, NULL) != 0)
        progress.is_running = false; /* then without */
}

void sim_progress_stop(void)
{
    pthread_mutex_lock(&progress.mutex);
    const bool was_running = progress.is_running;
    progress.is_running = false;
    pthread_cond_signal(&progress.wake);
    pthread_mutex_unlock(&progress.mutex);
    if (was_running)
        pthread_join(progress.thread, NULL);
}

void sim_progress_step(const char *step, uint64_t total)
{
    pthread_mutex_lock(&progress.mutex);
    progress.step = step;
    progress.total = total;
    progress.done = 0;
    pthread_mutex_unlock(&progress.mutex);
}

void sim_progress_add(uint64_t count)
{
    progress.done += count;
}
