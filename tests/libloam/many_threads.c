/*
 * many_threads.c - more threads at once than there are lists for. Each frees a block of
 * another one.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 1100
#define BLOCKS  20

static pthread_barrier_t barrier;
static char *box[THREADS];

static void *body(void *number)
{
    const size_t self = (size_t)number;
    char *block[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++) {
        block[i] = malloc(32 + i * 8);
        memset(block[i], (int)self, 32);
    }
    box[self] = malloc(100);
    memset(box[self], (int)self, 100);
    pthread_barrier_wait(&barrier);
    const size_t other = self ^ 1;
    if (box[other][0] != (char)other || box[other][99] != (char)other)
        abort();
    free(box[other]);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (block[i][0] != (char)self || block[i][31] != (char)self)
            abort();
        free(block[i]);
    }
    return NULL;
}

int main(void)
{
    static pthread_t thread[THREADS];
    pthread_attr_t attributes;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 65536);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < THREADS; i++) {
            if (pthread_create(&thread[i], &attributes, body, (void *)i) != 0) {
                printf("only %zu threads\n", i);
                return 2;
            }
        }
        for (size_t i = 0; i < THREADS; i++)
            pthread_join(thread[i], NULL);
    }
    return 0;
}
