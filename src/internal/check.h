/*
 * check.h - the three kinds of check. Conditions are always compiled, so they
 * cannot rot and need no "unused" markers when a level is switched off.
 */
#ifndef LOAM_INTERNAL_CHECK_H
#define LOAM_INTERNAL_CHECK_H

#include <loam/port.h>

__attribute__((noreturn, cold)) static inline void loam_check_fail(const char *rule,
                                                                   const char *file, int line,
                                                                   uint64_t subject,
                                                                   uint64_t detail)
{
    const struct loam_panic panic = { rule, file, line, subject, detail };
    loam_port_panic(&panic);
}

#define LOAM_CHECK_IF(level, cond, rule, subject, detail) \
    ((level) && !(cond) ? loam_check_fail(rule, __FILE__, __LINE__, (subject), (detail)) : (void)0)

/* The caller broke the contract (double free, wrong order). Never compiled out.
 * rule: "layer: the rule that was broken"; subject, detail: see struct loam_panic. */
#define LOAM_REQUIRE(cond, rule, subject, detail) LOAM_CHECK_IF(1, cond, rule, subject, detail)
/* We broke an invariant. O(1). */
#define LOAM_ASSERT(cond) LOAM_CHECK_IF(LOAM_CHECK >= 1, cond, #cond, 0, 0)
/* We broke an invariant. O(n): audits, list walks. */
#define LOAM_AUDIT(cond) LOAM_CHECK_IF(LOAM_CHECK >= 2, cond, #cond, 0, 0)

#endif
