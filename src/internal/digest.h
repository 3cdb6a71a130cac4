/*
 * digest.h - fold words into a 64-bit state digest. Two digests of one object
 * are equal if its observable state is; tests compare them around refusals.
 */
#ifndef LOAM_INTERNAL_DIGEST_H
#define LOAM_INTERNAL_DIGEST_H

#include <stdint.h>

#define LOAM_DIGEST_START UINT64_C(0x9e3779b97f4a7c15)

/* Multiply and fold: every input bit reaches every output bit. */
static inline uint64_t loam_digest_add(uint64_t digest, uint64_t word)
{
    digest = (digest ^ word) * UINT64_C(0xd6e8feb86659fd93);
    return digest ^ digest >> 32;
}

#endif
