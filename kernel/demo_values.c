/*
 * demo_values.c - values, arrays and texts on a heap of any kind. Who frees a block
 * says how large it is: some kinds must know, the others check it.
 */
#include "array.h"
#include "demos.h"
#include "log.h"
#include "text.h"

#include <stdint.h>

#define BOXED_VALUE 234u
#define BOX_COUNT   5u
#define ALIGN       16u

struct attributes {
    uint64_t first;
    uint32_t second;
    char third;
};

bool demo_box(struct loam_locked *heap)
{
    uint32_t *box = loam_locked_alloc(heap, sizeof *box, ALIGN);
    struct attributes *record = loam_locked_alloc(heap, sizeof *record, ALIGN);
    const bool fits = box != NULL && record != NULL;
    if (fits) {
        *box = BOXED_VALUE;
        *record = (struct attributes){ 1, 2, 'c' };
        log_info("box at %p holds %u", (void *)box, *box);
        log_info("struct at %p holds first %lu, second %u, third %c", (void *)record, record->first,
                 record->second, record->third);
    }
    loam_locked_free_sized(heap, record, sizeof *record);
    loam_locked_free_sized(heap, box, sizeof *box);
    return fits;
}

static void show_boxes(const struct array *vec)
{
    uint32_t *const *boxes = vec->items;
    log_info("vec 0x%016lx..0x%016lx, contents:", (uint64_t)(uintptr_t)boxes,
             (uint64_t)(uintptr_t)(boxes + vec->count));
    for (size_t i = 0; i < vec->count; i++)
        log_info("    box pointer %p, contents %u", (void *)boxes[i], *boxes[i]);
}

bool demo_vec(struct loam_locked *heap)
{
    struct array vec = { .heap = heap, .item_bytes = sizeof(uint32_t *) };
    bool fits = true;
    for (uint32_t i = 0; fits && i < BOX_COUNT; i++) {
        uint32_t *box = loam_locked_alloc(heap, sizeof *box, ALIGN);
        fits = box != NULL && array_append(&vec, &box, 1);
        if (fits)
            *box = i;
        else
            loam_locked_free_sized(heap, box, sizeof *box);
    }
    if (fits)
        show_boxes(&vec);
    uint32_t **boxes = vec.items;
    for (size_t i = 0; i < vec.count; i++)
        loam_locked_free_sized(heap, boxes[i], sizeof *boxes[i]);
    array_free(&vec);
    return fits;
}

bool demo_strings(struct loam_locked *heap)
{
    static const char *const texts[] = { "a", "b", "c" };
    struct array strings = { .heap = heap, .item_bytes = sizeof texts[0] };
    bool fits = true;
    for (size_t i = 0; fits && i < sizeof texts / sizeof texts[0]; i++)
        fits = array_append(&strings, &texts[i], 1);
    const char *const *items = strings.items;
    if (fits)
        log_info("strings at %p: [\"%s\", \"%s\", \"%s\"]", strings.items, items[0], items[1],
                 items[2]);
    array_free(&strings);
    return fits;
}

bool demo_string(struct loam_locked *heap)
{
    static const char *const pieces[] = { "This", " is", " a", " string." };
    struct array string = { .heap = heap, .item_bytes = 1 };
    bool fits = true;
    for (size_t i = 0; fits && i < sizeof pieces / sizeof pieces[0]; i++)
        fits = array_append(&string, pieces[i], text_length(pieces[i]));
    fits = fits && array_append(&string, "", 1); /* the end of the text */
    if (fits)
        log_info("string at %p: %s", string.items, (const char *)string.items);
    array_free(&string);
    return fits;
}
