/*
 * fuzz.h - what every fuzz target shares: an input to take numbers from, and a
 * check that ends the run.
 *
 * A target makes an input out of the bytes, gives it to a layer, and compares
 * with an independent definition of the right answer. Panics abort (harness.c).
 */
#ifndef LOAM_FUZZ_FUZZ_H
#define LOAM_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_input {
    const uint8_t *data;
    size_t left;
};

/* The next 1..8 bytes as a number; zeroes where the input has ended. */
static inline uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && input->left > 0; i++) {
        value |= (uint64_t)*input->data << 8 * i;
        input->data++;
        input->left--;
    }
    return value;
}

#define FUZZ_CHECK(cond)                                                         \
    do {                                                                         \
        if (!(cond)) {                                                           \
            fprintf(stderr, "fuzz: %s:%d: not %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                             \
        }                                                                        \
    } while (0)

/* An audit said nothing. */
static inline void fuzz_check_sound(const char *broken_rule)
{
    if (broken_rule != NULL) {
        fprintf(stderr, "fuzz: audit: %s\n", broken_rule);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
