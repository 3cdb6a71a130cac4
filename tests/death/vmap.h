/* vmap.h - the machine of the death programs of vmap, with three pages allocated. */
#ifndef LOAM_TESTS_DEATH_VMAP_H
#define LOAM_TESTS_DEATH_VMAP_H

#include "loam_world.h"

#include <stdlib.h>

static inline loam_virt three_pages(void)
{
    const struct loam_vmap_request request = { .size_bytes = 3 * LOAM_PAGE_SIZE };
    loam_virt at;
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK ||
        loam_vmap_alloc(&mm, &request, &at) != LOAM_OK)
        exit(1);
    return at;
}

#endif
