/*
 * refuse.h - return a status together with its reason.
 */
#ifndef LOAM_INTERNAL_REFUSE_H
#define LOAM_INTERNAL_REFUSE_H

#include <loam/types.h>

LOAM_NODISCARD static inline enum loam_status loam_refuse(struct loam_refusal *refusal,
                                                          enum loam_status status, const char *rule,
                                                          uint64_t have, uint64_t need)
{
    if (refusal != NULL) {
        refusal->rule = rule;
        refusal->have = have;
        refusal->need = need;
    }
    return status;
}

#endif
