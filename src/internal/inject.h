/*
 * inject.h - numbered failure points. In test builds every internal step that
 * can fail asks whether it is its turn; elsewhere the question costs nothing.
 */
#ifndef LOAM_INTERNAL_INJECT_H
#define LOAM_INTERNAL_INJECT_H

#include <loam/config.h>

#if LOAM_TEST_HOOKS
#include <stdbool.h>
/* Defined by the tests. @param point static name of the step @return true: fail */
bool loam_test_inject(const char *point);
#define LOAM_INJECT(point) loam_test_inject(point)
#else
#define LOAM_INJECT(point) false
#endif

#endif
