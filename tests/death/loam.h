/* loam.h - the machine of the death programs of single frames. */
#ifndef LOAM_TESTS_DEATH_LOAM_H
#define LOAM_TESTS_DEATH_LOAM_H

#include "loam_world.h"

#include <stdlib.h>

/* A frame of the kernel's, taken on a small machine. */
static inline loam_phys kernel_frame(void)
{
    small_machine(1);
    if (loam_init(&mm, &boot, &refusal) != LOAM_OK)
        exit(1);
    const loam_phys frame = loam_take_frames(&mm, 0, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL);
    if (loam_phys_is_none(frame))
        exit(1);
    return frame;
}

#endif
