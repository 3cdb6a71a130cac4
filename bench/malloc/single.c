/*
 * single.c - one thread, small blocks.
 *
 *     tight        a block of 16 bytes made and freed, again and again
 *     batches      many blocks made, then freed in another order
 *     zeroed       calloc() of all sizes
 *     churn        a table of blocks, one of them replaced at a time (alloc-test)
 *     bignum       numbers of a few digits, each new for each step (cfrac)
 *     cubes        prime implicants of a boolean function (espresso)
 *     index        a search tree of strings that changes
 */
#include <stdio.h>
#include <string.h>

#include "programs.h"

#define TIGHT_PAIRS    ((size_t)60000000)
#define BATCH_BLOCKS   ((size_t)100000)
#define BATCH_TIMES    ((size_t)60)
#define ZEROED_SLOTS   ((size_t)4096)
#define ZEROED_STEPS   ((size_t)1000000)
#define CHURN_SLOTS    ((size_t)100000)
#define CHURN_STEPS    ((size_t)4000000)
#define BIGNUM_PRIMES  6u
#define BIGNUM_ROUNDS  ((size_t)25)
#define CUBE_VARIABLES 11u
#define CUBE_FUNCTIONS ((size_t)55)
#define CUBE_BUCKETS   4096u
#define INDEX_KEYS     ((size_t)200000)
#define INDEX_STEPS    ((size_t)400000)

static uint64_t tight_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    const size_t pairs = program_share(load, TIGHT_PAIRS);
    for (size_t i = 0; i < pairs; i++)
        program_end(&tally, program_make(&tally, 16));
    return program_sum(&tally);
}

static void batch_shuffle(void **blocks, size_t count, uint64_t *random)
{
    for (size_t i = count; i > 1; i--) {
        const size_t other = (size_t)(program_random(random) % i);
        void *block = blocks[i - 1];
        blocks[i - 1] = blocks[other];
        blocks[other] = block;
    }
}

static uint64_t batches_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    uint64_t random = program_seed(load->seed, 0);
    void **blocks = program_take(BATCH_BLOCKS * sizeof *blocks);
    const size_t times = program_share(load, BATCH_TIMES);
    for (size_t time = 0; time < times; time++) {
        for (size_t i = 0; i < BATCH_BLOCKS; i++)
            blocks[i] = program_make(&tally, 16 + (size_t)(program_random(&random) % 8) * 16);
        batch_shuffle(blocks, BATCH_BLOCKS, &random);
        for (size_t i = 0; i < BATCH_BLOCKS; i++)
            program_end(&tally, blocks[i]);
    }
    free(blocks);
    return program_sum(&tally);
}

static void *zeroed_make(struct program_tally *tally, size_t size_bytes)
{
    unsigned char *bytes = calloc(size_bytes / 8, 8);
    if (bytes == NULL)
        program_fail("out of memory");
    size_bytes = size_bytes / 8 * 8;
    for (size_t at = 0; at < size_bytes; at += at < 64 ? 8 : PROGRAM_PAGE)
        if (bytes[at] != 0)
            program_fail("calloc() left something");
    if (bytes[size_bytes - 1] != 0)
        program_fail("calloc() left something at the end");
    program_mark(tally, bytes, size_bytes);
    return bytes;
}

static uint64_t zeroed_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    uint64_t random = program_seed(load->seed, 0);
    void **blocks = calloc(ZEROED_SLOTS, sizeof *blocks);
    if (blocks == NULL)
        program_fail("out of memory");
    const size_t steps = program_share(load, ZEROED_STEPS);
    for (size_t step = 0; step < steps; step++) {
        const size_t slot = (size_t)(program_random(&random) % ZEROED_SLOTS);
        program_end(&tally, blocks[slot]);
        blocks[slot] = zeroed_make(&tally, program_log_size(&random, 8, 32768));
    }
    for (size_t slot = 0; slot < ZEROED_SLOTS; slot++)
        program_end(&tally, blocks[slot]);
    free(blocks);
    return program_sum(&tally);
}

/* ---- churn ----------------------------------------------------------------------- */

static void churn_body(struct program_thread *thread)
{
    struct program_tally *tally = &thread->tally;
    void **blocks = calloc(CHURN_SLOTS, sizeof *blocks);
    if (blocks == NULL)
        program_fail("out of memory");
    const size_t steps = program_share(thread->load, CHURN_STEPS) / thread->load->threads;
    for (size_t step = 0; step < steps; step++) {
        const size_t slot = (size_t)(program_random(&thread->random) % CHURN_SLOTS);
        program_end(tally, blocks[slot]);
        blocks[slot] = program_make(tally, program_log_size(&thread->random, 8, 1024));
    }
    for (size_t slot = 0; slot < CHURN_SLOTS; slot++)
        program_end(tally, blocks[slot]);
    free(blocks);
}

static uint64_t churn_run(const struct program_load *load)
{
    struct program_tally tally = { 0 };
    if (load->threads > 1) {
        program_threads(load, &tally, NULL, churn_body);
        return program_sum(&tally);
    }
    struct program_thread thread = { .load = load, .random = program_seed(load->seed, 0) };
    churn_body(&thread);
    return program_sum(&thread.tally);
}

/* ---- bignum ---------------------------------------------------------------------- */

__extension__ typedef unsigned __int128 wide;

/* Never changed once made; the lowest digit first. */
struct number {
    uint32_t count;
    uint32_t digits[];
};

static struct number *number_new(uint32_t count)
{
    struct number *number = program_take(sizeof *number + count * sizeof number->digits[0]);
    number->count = count;
    return number;
}

static struct number *number_of(uint64_t value)
{
    struct number *number = number_new(2);
    number->digits[0] = (uint32_t)value;
    number->digits[1] = (uint32_t)(value >> 32);
    return number;
}

static uint64_t number_value(const struct number *number)
{
    return number->digits[0] | (uint64_t)number->digits[1] << 32;
}

static struct number *number_multiply(const struct number *a, const struct number *b)
{
    struct number *product = number_new(a->count + b->count);
    memset(product->digits, 0, product->count * sizeof product->digits[0]);
    for (uint32_t i = 0; i < a->count; i++) {
        uint64_t carry = 0;
        for (uint32_t j = 0; j < b->count; j++) {
            carry += (uint64_t)a->digits[i] * b->digits[j] + product->digits[i + j];
            product->digits[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        product->digits[i + b->count] = (uint32_t)carry;
    }
    return product;
}

static struct number *number_increment(const struct number *a)
{
    struct number *sum = number_new(a->count + 1);
    uint64_t carry = 1;
    for (uint32_t i = 0; i < a->count; i++) {
        carry += a->digits[i];
        sum->digits[i] = (uint32_t)carry;
        carry >>= 32;
    }
    sum->digits[a->count] = (uint32_t)carry;
    return sum;
}

/* The rest of a division by a number below 2^62. */
static struct number *number_rest(const struct number *a, uint64_t divisor)
{
    wide rest = 0;
    for (uint32_t i = a->count; i > 0; i--)
        rest = (rest << 32 | a->digits[i - 1]) % divisor;
    return number_of((uint64_t)rest);
}

static struct number *number_difference(const struct number *a, const struct number *b)
{
    const uint64_t x = number_value(a);
    const uint64_t y = number_value(b);
    return number_of(x > y ? x - y : y - x);
}

/* x * x + 1, below the divisor; x is no more. */
static struct number *bignum_step(struct number *x, uint64_t divisor)
{
    struct number *square = number_multiply(x, x);
    struct number *next = number_increment(square);
    struct number *rest = number_rest(next, divisor);
    free(x);
    free(square);
    free(next);
    return rest;
}

static uint64_t bignum_common(uint64_t a, uint64_t b)
{
    while (b != 0) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Pollard's rho. @return a factor; 1: none was found */
static uint64_t bignum_factor(uint64_t composite)
{
    struct number *slow = number_of(2);
    struct number *fast = number_of(2);
    struct number *product = number_of(1);
    uint64_t factor = 1;
    for (unsigned step = 1; factor == 1 && step < 1000000; step++) {
        slow = bignum_step(slow, composite);
        fast = bignum_step(bignum_step(fast, composite), composite);
        struct number *difference = number_difference(slow, fast);
        struct number *larger = number_multiply(product, difference);
        free(product);
        product = number_rest(larger, composite);
        free(larger);
        free(difference);
        if (step % 64 == 0)
            factor = bignum_common(composite, number_value(product));
    }
    free(slow);
    free(fast);
    free(product);
    return factor == composite ? 1 : factor;
}

static uint64_t bignum_run(const struct program_load *load)
{
    static const uint64_t primes[BIGNUM_PRIMES] = { 1000000007, 1000000009, 998244353,
                                                    2147483647, 1073741789, 536870909 };
    uint64_t sum = load->seed;
    const size_t rounds = program_share(load, BIGNUM_ROUNDS);
    for (size_t round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < BIGNUM_PRIMES; i++) {
            const uint64_t composite = primes[i] * primes[(i + 1 + round) % BIGNUM_PRIMES];
            const uint64_t factor = bignum_factor(composite);
            if (composite % factor != 0)
                program_fail("no factor");
            sum = sum * 31 + factor;
        }
    }
    return sum;
}

/* ---- cubes ----------------------------------------------------------------------- */

/* A product of variables: those in mask do not matter, the others are as in value. */
struct cube {
    struct cube *next; /* in its bucket */
    uint32_t mask;
    uint32_t value;
    bool is_covered;
    unsigned char words[]; /* of no use but to have a size, as the variables of others */
};

struct cover {
    struct cube *buckets[CUBE_BUCKETS];
    size_t count;
};

static unsigned cube_bucket(uint32_t mask, uint32_t value)
{
    return (mask * 2654435761u ^ value * 2246822519u) >> 20 & (CUBE_BUCKETS - 1);
}

static struct cube *cover_find(const struct cover *cover, uint32_t mask, uint32_t value)
{
    struct cube *cube = cover->buckets[cube_bucket(mask, value)];
    while (cube != NULL && (cube->mask != mask || cube->value != value))
        cube = cube->next;
    return cube;
}

static void cover_add(struct cover *cover, uint32_t mask, uint32_t value)
{
    if (cover_find(cover, mask, value) != NULL)
        return;
    const size_t words = (size_t)__builtin_popcount(mask) * 4;
    struct cube *cube = program_take(sizeof *cube + words);
    struct cube **bucket = &cover->buckets[cube_bucket(mask, value)];
    *cube = (struct cube){ .next = *bucket, .mask = mask, .value = value };
    memset(cube->words, (int)(value & 0xff), words);
    *bucket = cube;
    cover->count++;
}

static struct cover *cover_new(void)
{
    struct cover *cover = calloc(1, sizeof *cover);
    if (cover == NULL)
        program_fail("out of memory");
    return cover;
}

/* All pairs that differ in one variable, without it. */
static void cover_merge(struct cover *to, const struct cover *from)
{
    for (unsigned bucket = 0; bucket < CUBE_BUCKETS; bucket++) {
        for (struct cube *cube = from->buckets[bucket]; cube != NULL; cube = cube->next) {
            for (uint32_t bit = 1; bit < 1u << CUBE_VARIABLES; bit <<= 1) {
                struct cube *other = (cube->mask & bit) == 0
                                         ? cover_find(from, cube->mask, cube->value ^ bit)
                                         : NULL;
                if (other == NULL)
                    continue;
                cube->is_covered = true;
                cover_add(to, cube->mask | bit, cube->value & ~bit);
            }
        }
    }
}

/* Free all. @return sum over those that nothing covers */
static uint64_t cover_free(struct cover *cover)
{
    uint64_t sum = 0;
    for (unsigned bucket = 0; bucket < CUBE_BUCKETS; bucket++) {
        for (struct cube *cube = cover->buckets[bucket]; cube != NULL;) {
            struct cube *next = cube->next;
            if (!cube->is_covered)
                sum += (uint64_t)cube->mask << 32 | cube->value;
            free(cube);
            cube = next;
        }
    }
    free(cover);
    return sum;
}

static uint64_t cubes_run(const struct program_load *load)
{
    uint64_t random = program_seed(load->seed, 0);
    uint64_t sum = 0;
    const size_t functions = program_share(load, CUBE_FUNCTIONS);
    for (size_t function = 0; function < functions; function++) {
        struct cover *cover = cover_new();
        for (uint32_t value = 0; value < 1u << CUBE_VARIABLES; value++)
            if (program_random(&random) % 16 < 13)
                cover_add(cover, 0, value);
        while (cover->count != 0) {
            struct cover *next = cover_new();
            cover_merge(next, cover);
            sum += cover_free(cover);
            cover = next;
        }
        sum += cover_free(cover);
    }
    return sum;
}

/* ---- index ----------------------------------------------------------------------- */

struct entry {
    struct entry *less;
    struct entry *more;
    char *name;
    uint64_t uses;
};

static char *entry_name(uint64_t key)
{
    char text[64];
    const int length = snprintf(text, sizeof text, "%0*llx", 6 + (int)(key % 31),
                                (unsigned long long)(key * UINT64_C(0x9e3779b97f4a7c15) >> 44));
    char *name = program_take((size_t)length + 1);
    memcpy(name, text, (size_t)length + 1);
    return name;
}

/* Where an entry of that name hangs, or would. */
static struct entry **entry_place(struct entry **root, const char *name)
{
    while (*root != NULL) {
        const int order = strcmp(name, (*root)->name);
        if (order == 0)
            break;
        root = order < 0 ? &(*root)->less : &(*root)->more;
    }
    return root;
}

static uint64_t entry_remove(struct entry **place)
{
    struct entry *entry = *place;
    const uint64_t uses = entry->uses;
    if (entry->less == NULL) {
        *place = entry->more;
    } else {
        struct entry **last = &entry->less;
        while ((*last)->more != NULL)
            last = &(*last)->more;
        struct entry *heir = *last;
        *last = heir->less;
        heir->less = entry->less;
        heir->more = entry->more;
        *place = heir;
    }
    free(entry->name);
    free(entry);
    return uses;
}

/* Insert a name that is not there; one that is goes every other time. */
static uint64_t index_step(struct entry **root, uint64_t random)
{
    char *name = entry_name(random % INDEX_KEYS);
    struct entry **place = entry_place(root, name);
    if (*place == NULL) {
        struct entry *entry = program_take(sizeof *entry);
        *entry = (struct entry){ .name = name, .uses = 1 };
        *place = entry;
        return 1;
    }
    free(name);
    (*place)->uses++;
    return random >> 40 & 1 ? entry_remove(place) : 0;
}

static uint64_t index_run(const struct program_load *load)
{
    uint64_t random = program_seed(load->seed, 0);
    struct entry *root = NULL;
    uint64_t sum = 0;
    const size_t steps = program_share(load, INDEX_STEPS);
    for (size_t step = 0; step < steps; step++)
        sum = sum * 3 + index_step(&root, program_random(&random));
    while (root != NULL)
        sum = sum * 3 + entry_remove(&root);
    return sum;
}

/* ---------------------------------------------------------------------------------- */

const struct program programs_single[] = {
    { "tight", tight_run, 1 }, { "batches", batches_run, 1 }, { "zeroed", zeroed_run, 1 },
    { "churn", churn_run, 1 }, { "bignum", bignum_run, 1 },   { "cubes", cubes_run, 1 },
    { "index", index_run, 1 }, { "churn2", churn_run, 2 },    { NULL, NULL, 0 },
};
