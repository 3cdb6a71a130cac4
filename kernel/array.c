/*
 * array.c - see array.h.
 */
#include "array.h"

#include "malloc.h"
#include "text.h"

#define FIRST_ROOM 4u

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
        void *moved = realloc(array->items, bytes);
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
    free(array->items);
    *array = (struct array){ .item_bytes = array->item_bytes };
}
