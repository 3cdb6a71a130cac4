/*
 * array.c - see array.h.
 */
#include "array.h"

#include "text.h"

#define FIRST_ROOM 4u
#define ITEM_ALIGN 16u

bool array_append(struct array *array, const void *items, size_t count)
{
    size_t need, bytes;
    if (__builtin_add_overflow(array->count, count, &need))
        return false;
    if (need > array->room) {
        size_t room = array->room < FIRST_ROOM ? FIRST_ROOM : 2 * array->room;
        if (room < need)
            room = need;
        if (__builtin_mul_overflow(room, array->item_bytes, &bytes))
            return false;
        const struct loam_resize resize = { array->room * array->item_bytes, bytes, ITEM_ALIGN };
        void *moved = loam_locked_realloc(array->heap, array->items, &resize);
        if (moved == NULL)
            return false;
        array->items = moved;
        array->room = room;
    }
    memcpy((char *)array->items + array->count * array->item_bytes, items,
           count * array->item_bytes);
    array->count = need;
    return true;
}

void array_free(struct array *array)
{
    loam_locked_free_sized(array->heap, array->items, array->room * array->item_bytes);
    *array = (struct array){ .heap = array->heap, .item_bytes = array->item_bytes };
}
