/*
 * handler_fork.c - forks from handlers that interrupt malloc, while other threads are in
 * it: parent, child and grandchild go on allocating, and return into what was interrupted.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define FORKS   200
#define HELPERS 3
#define BLOCKS  64

static volatile sig_atomic_t fork_count, failed_count, is_child;
static atomic_bool is_over;

/* Allocate and free; end at the first block that is missing. */
static void use(unsigned seed)
{
    char *block[BLOCKS];

    for (unsigned i = 0; i < BLOCKS; i++) {
        block[i] = malloc((i * 977 + seed) % 150000);
        if (block[i] == NULL)
            _exit(9);
        block[i][0] = (char)i;
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (block[i][0] != (char)i)
            _exit(8);
        free(block[i]);
    }
}

static bool ended_well(pid_t child)
{
    int status = -1;

    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status == 0;
}

static void fork_here(int number)
{
    const int error = errno;
    const pid_t child = fork();

    (void)number;
    if (child == 0) {
        is_child = 1;
        signal(SIGALRM, SIG_IGN); /* of main()'s, which may still set the timer once */
        use(1);
        const pid_t grandchild = fork();
        if (grandchild == 0) {
            use(2);
            _exit(0);
        }
        if (!ended_well(grandchild))
            _exit(7);
        return;
    }
    failed_count += child < 0 || !ended_well(child);
    fork_count++;
    errno = error;
}

static void *use_until_over(void *number)
{
    while (!atomic_load(&is_over))
        use((unsigned)(size_t)number);
    return NULL;
}

int main(void)
{
    const struct sigaction action = { .sa_handler = fork_here, .sa_flags = SA_RESTART };
    pthread_t helper[HELPERS];
    sigset_t alarm_only;

    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm_only, NULL);
    for (size_t i = 0; i < HELPERS; i++) {
        if (pthread_create(&helper[i], NULL, use_until_over, (void *)i) != 0)
            return 2;
    }
    sigaction(SIGALRM, &action, NULL);
    pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL);
    for (unsigned round = 0; fork_count < FORKS && !is_child; round++) {
        const struct itimerval soon = { { 0, 0 }, { 0, 20 + round * 37 % 500 } };
        setitimer(ITIMER_REAL, &soon, NULL);
        use(round);
    }
    if (is_child) { /* what the handler interrupted came to its end */
        use(3);
        _exit(0);
    }
    atomic_store(&is_over, true);
    for (size_t i = 0; i < HELPERS; i++)
        pthread_join(helper[i], NULL);
    printf("%d forks, %d failed\n", (int)fork_count, (int)failed_count);
    return failed_count != 0;
}
