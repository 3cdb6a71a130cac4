/*
 * mapfile_fuzz.c - any text as a recorded memory map: refused with a line, or
 * read into entries that the library can normalise.
 */
#include "fuzz.h"

#include <loam/memmap.h>

#include "mapfile.h"

static void normalise(const struct mapfile *file)
{
    struct loam_memmap map;
    struct loam_memmap_entry *storage =
        malloc(LOAM_MEMMAP_STORAGE(file->entry_count) * sizeof *storage);
    FUZZ_CHECK(storage != NULL);
    const struct loam_memmap_request request = {
        .raw = file->entry,
        .raw_count = file->entry_count,
        .storage = storage,
        .storage_count = LOAM_MEMMAP_STORAGE(file->entry_count),
        .phys_bits = LOAM_PHYS_BITS_MAX,
    };
    FUZZ_CHECK(loam_memmap_init(&map, &request, NULL) == LOAM_OK);
    fuzz_check_sound(loam_memmap_audit(&map));
    free(storage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mapfile file;
    struct mapfile_error error = { 0, NULL };
    FILE *stream = size != 0 ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
    if (stream == NULL)
        return 0;
    const enum loam_status st = mapfile_read(&file, stream, &error);
    fclose(stream);
    if (st != LOAM_OK) {
        FUZZ_CHECK(error.message != NULL);
        return 0;
    }
    FUZZ_CHECK(file.entry_count > 0);
    FUZZ_CHECK(mapfile_format_name(file.format) != NULL);
    normalise(&file);
    mapfile_free(&file);
    return 0;
}
