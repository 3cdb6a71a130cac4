/*
 * empty.c - an allocator to preload that does next to nothing: each thread steps through
 * memory that is never used again. What is left is what the programs themselves cost, and
 * fresh memory.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define UNIT  ((size_t)16)
#define CHUNK ((size_t)1 << 20)

/* Before each block, for realloc(). */
struct head {
    size_t size_bytes;
    size_t unused;
};

static _Thread_local __attribute__((tls_model("initial-exec"))) struct {
    uintptr_t next;
    uintptr_t end;
} space;

static void *none(void)
{
    errno = ENOMEM;
    return NULL;
}

static void *step(size_t align, size_t size_bytes)
{
    if (size_bytes > PTRDIFF_MAX - CHUNK - align)
        return none();
    uintptr_t block = (space.next + sizeof(struct head) + align - 1) & -align;
    if (block > space.end || size_bytes > space.end - block) {
        const size_t more = (size_bytes + align + sizeof(struct head) + CHUNK - 1) & -CHUNK;
        void *memory = mmap(NULL, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return none();
        space.end = (uintptr_t)memory + more;
        block = ((uintptr_t)memory + sizeof(struct head) + align - 1) & -align;
    }
    space.next = (block + size_bytes + UNIT - 1) & -UNIT;
    ((struct head *)block)[-1].size_bytes = size_bytes;
    return (void *)block;
}

void *malloc(size_t size_bytes)
{
    return step(UNIT, size_bytes);
}

void free(void *block)
{
    (void)block;
}

/* Memory is fresh, and so zero. */
void *calloc(size_t count, size_t size_bytes)
{
    size_t all;
    return __builtin_mul_overflow(count, size_bytes, &all) ? none() : step(UNIT, all);
}

size_t malloc_usable_size(void *block)
{
    return block == NULL ? 0 : ((struct head *)block)[-1].size_bytes;
}

void *realloc(void *block, size_t size_bytes)
{
    const size_t before = malloc_usable_size(block);
    if (block != NULL && size_bytes <= before)
        return block;
    void *larger = step(UNIT, size_bytes);
    if (larger != NULL && block != NULL)
        memcpy(larger, block, before);
    return larger;
}

void *memalign(size_t align, size_t size_bytes)
{
    return step(align < UNIT ? UNIT : align, size_bytes);
}

void *aligned_alloc(size_t align, size_t size_bytes)
{
    return memalign(align, size_bytes);
}

int posix_memalign(void **block, size_t align, size_t size_bytes)
{
    *block = memalign(align, size_bytes);
    return *block == NULL ? ENOMEM : 0;
}
