/*
 * multiboot2_fuzz.c - any bytes as a Multiboot2 information block: refused with a
 * rule and nothing written, or a boot description within its storage. The block
 * is memory of exactly the size it claims: the sanitizer sees reads beyond it.
 */
#include "fuzz.h"

#include <loam/boot/multiboot2.h>

#define ROOM 16u
#define INFO UINT64_C(0x14000)

LOAM_BOOT_STORAGE(storage, ROOM);

static void check_accepted(const struct loam_boot *boot)
{
    struct loam_memmap map;
    FUZZ_CHECK(boot->raw_count > 0 && boot->raw_count < storage.raw_max);
    const struct loam_memmap_request request = {
        .raw = storage.raw,
        .raw_count = boot->raw_count,
        .storage = storage.map,
        .storage_count = storage.map_max,
        .phys_bits = LOAM_PHYS_BITS_MAX,
    };
    FUZZ_CHECK(loam_memmap_init(&map, &request, NULL) == LOAM_OK);
    fuzz_check_sound(loam_memmap_audit(&map));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loam_boot boot;
    struct loam_boot untouched;
    struct loam_refusal refusal = { NULL, 0, 0 };
    if (size < 4)
        return 0;

    unsigned char *block = malloc(size);
    FUZZ_CHECK(block != NULL);
    memcpy(block, data, size);
    const uint32_t total = (uint32_t)size;
    memcpy(block, &total, sizeof total);

    memset(&boot, 0x5a, sizeof boot);
    memcpy(&untouched, &boot, sizeof boot);
    struct loam_mb2_boot request = {
        .magic = UINT32_C(0x36d76289),
        .info = loam_phys_at(INFO),
        .mapped = { .hhdm_offset = (uint64_t)(uintptr_t)block - INFO },
    };
    const enum loam_status st = loam_boot_multiboot2(&boot, &storage, &request, &refusal);
    if (st == LOAM_OK) {
        check_accepted(&boot);
    } else {
        FUZZ_CHECK(refusal.rule != NULL);
        FUZZ_CHECK(memcmp(&boot, &untouched, sizeof boot) == 0);
    }
    free(block);
    return 0;
}
