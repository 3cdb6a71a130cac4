/*
 * request.c - find what the kernel asks, in its loaded image.
 *
 * The image is scanned at 8-byte steps, between the delimiters where it has them,
 * for the base revision tag and for requests. Two requests of one kind, or no
 * revision that the shim can serve, end the boot.
 */
#include "shim.h"

#define ID_WORDS   4u
#define HEAD_BYTES 48u /* id, revision, response */

struct kind {
    uint64_t id[ID_WORDS];
    uint64_t size;
};

static const struct kind kinds[REQUEST_COUNT] = {
    [REQUEST_BOOTLOADER_INFO] = { LOAM_LIMINE_ID_BOOTLOADER_INFO, HEAD_BYTES },
    [REQUEST_STACK_SIZE] = { LOAM_LIMINE_ID_STACK_SIZE, HEAD_BYTES + 8 },
    [REQUEST_HHDM] = { LOAM_LIMINE_ID_HHDM, HEAD_BYTES },
    [REQUEST_FRAMEBUFFER] = { LOAM_LIMINE_ID_FRAMEBUFFER, HEAD_BYTES },
    [REQUEST_PAGING_MODE] = { LOAM_LIMINE_ID_PAGING_MODE, HEAD_BYTES + 8 },
    [REQUEST_MP] = { LOAM_LIMINE_ID_MP, HEAD_BYTES + 8 },
    [REQUEST_MEMMAP] = { LOAM_LIMINE_ID_MEMMAP, HEAD_BYTES },
    [REQUEST_EXECUTABLE_FILE] = { LOAM_LIMINE_ID_EXECUTABLE_FILE, HEAD_BYTES },
    [REQUEST_MODULE] = { LOAM_LIMINE_ID_MODULE, HEAD_BYTES },
    [REQUEST_RSDP] = { LOAM_LIMINE_ID_RSDP, HEAD_BYTES },
    [REQUEST_EXECUTABLE_ADDRESS] = { LOAM_LIMINE_ID_EXECUTABLE_ADDRESS, HEAD_BYTES },
    [REQUEST_EXECUTABLE_CMDLINE] = { LOAM_LIMINE_ID_EXECUTABLE_CMDLINE, HEAD_BYTES },
};

static const uint64_t start_marker[4] = LOAM_LIMINE_REQUESTS_START;
static const uint64_t end_marker[2] = LOAM_LIMINE_REQUESTS_END;
static const uint64_t revision_magic[2] = { LOAM_LIMINE_BASE_MAGIC_0, LOAM_LIMINE_BASE_MAGIC_1 };

struct words {
    uint64_t *first, *end;
};

static bool is_here(struct words words, const uint64_t *p, const uint64_t *id, size_t count)
{
    return (size_t)(words.end - p) >= count && memcmp(p, id, count * sizeof *id) == 0;
}

/* From behind the last start marker to the first end marker after it. */
static struct words delimited(struct words all)
{
    struct words found = all;

    for (uint64_t *p = all.first; p < all.end; p++) {
        if (*p == start_marker[0] && is_here(all, p, start_marker, 4))
            found.first = p + 4;
    }
    for (uint64_t *p = found.first; p < all.end; p++) {
        if (*p == end_marker[0] && is_here(all, p, end_marker, 2)) {
            found.end = p;
            break;
        }
    }
    return found;
}

/* Settle the base revision and tell the kernel through its tag. */
static unsigned agree(uint64_t *tag, unsigned revision_max)
{
    const uint64_t wanted = tag[2];

    if (wanted < LOAM_LIMINE_REVISION_MIN)
        fail_number("kernel: asks for a base revision that is too old:", wanted);
    const bool granted = wanted <= revision_max;
    tag[1] = granted ? wanted : revision_max;
    if (granted)
        tag[2] = 0;
    return (unsigned)tag[1];
}

static void note_request(struct requests *requests, struct words words, uint64_t *p)
{
    for (unsigned i = 0; i < REQUEST_COUNT; i++) {
        if (!is_here(words, p, kinds[i].id, ID_WORDS))
            continue;
        if ((uint64_t)(words.end - p) * sizeof *p < kinds[i].size)
            fail_number("kernel: a request runs out of the image, kind", i);
        if (requests->found[i] != NULL)
            fail_number("kernel: two requests of one kind, kind", i);
        requests->found[i] = p;
    }
}

void requests_find(struct requests *requests, const struct kernel *kernel,
                   const struct options *options)
{
    const struct words all = { at(kernel->phys), at(kernel->phys + kernel->size) };
    const struct words words = delimited(all);

    for (uint64_t *p = words.first; p < words.end; p++) {
        if (*p == revision_magic[0] && is_here(words, p, revision_magic, 2) && words.end - p >= 3)
            requests->revision = agree(p, options->revision_max);
        if (*p == kinds[0].id[0])
            note_request(requests, words, p);
    }
    if (requests->revision == 0)
        fail("kernel: no base revision tag");
    for (unsigned i = 0; i < REQUEST_COUNT; i++) {
        if ((options->unanswered >> i & 1) != 0)
            requests->found[i] = NULL;
    }
}
