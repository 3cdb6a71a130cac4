/*
 * selftest_symbols.c - the symbol reader against broken files: it may refuse or
 * accept, but never read outside the file.
 */
#include "layout.h"
#include "memory.h"
#include "selftest.h"
#include "symbols.h"
#include "text.h"

/*
 * The smallest file with one function, "f" of 16 bytes at 0x1000:
 *     0x000 header   0x040 sections: none, symbols, names   0x100 symbol   0x118 names
 */
#define SECTIONS_AT 0x40u
#define SYMBOLS_AT  0x100u
#define NAMES_AT    0x118u
#define FILE_BYTES  0x11bu
#define FUNCTION    0x1000u

static void put(uint8_t *file, size_t at, uint64_t value, size_t size)
{
    memcpy(file + at, &value, size); /* little-endian, as we are */
}

static void build(uint8_t *file)
{
    memset(file, 0, FILE_BYTES);
    memcpy(file, "\177ELF\2\1\1", 7);
    put(file, 18, 62, 2);          /* machine */
    put(file, 40, SECTIONS_AT, 8); /* sections */
    put(file, 58, 64, 2);          /* section size */
    put(file, 60, 3, 2);           /* section count */
    put(file, SECTIONS_AT + 64 + 4, 2, 4);
    put(file, SECTIONS_AT + 64 + 24, SYMBOLS_AT, 8);
    put(file, SECTIONS_AT + 64 + 32, NAMES_AT - SYMBOLS_AT, 8);
    put(file, SECTIONS_AT + 64 + 40, 2, 4); /* names: section 2 */
    put(file, SECTIONS_AT + 64 + 56, 24, 8);
    put(file, SECTIONS_AT + 128 + 4, 3, 4);
    put(file, SECTIONS_AT + 128 + 24, NAMES_AT, 8);
    put(file, SECTIONS_AT + 128 + 32, FILE_BYTES - NAMES_AT, 8);
    put(file, SYMBOLS_AT, 1, 4);
    put(file, SYMBOLS_AT + 4, 2, 1); /* a function */
    put(file, SYMBOLS_AT + 8, FUNCTION, 8);
    put(file, SYMBOLS_AT + 16, 16, 8);
    file[NAMES_AT + 1] = 'f';
}

/* Read a file that ends where the page ends: a byte too far faults. */
static bool read_at_the_edge(const uint8_t *file, size_t size)
{
    struct symbols symbols;
    uint8_t *edge = (uint8_t *)(uintptr_t)(LAYOUT_SCRATCH + LOAM_PAGE_SIZE - size);
    memcpy(edge, file, size);
    const bool accepted = symbols_read(&symbols, edge, size) == NULL;
    if (accepted)
        symbols_free(&symbols);
    return accepted;
}

static const char *read_broken_files(uint8_t *file)
{
    for (size_t size = 0; size < FILE_BYTES; size++) {
        if (read_at_the_edge(file, size))
            return "a file that was cut off was accepted";
    }
    for (size_t at = 0; at < FILE_BYTES; at++) {
        const uint8_t was = file[at];
        for (unsigned flip = 1; flip < 256; flip = 2 * flip + 1) {
            file[at] = (uint8_t)(was ^ flip);
            (void)read_at_the_edge(file, FILE_BYTES);
        }
        file[at] = was;
    }
    return read_at_the_edge(file, FILE_BYTES) ? NULL : "the whole file was refused";
}

const char *selftest_symbols(void)
{
    uint8_t file[FILE_BYTES];
    struct symbols symbols;
    build(file);
    const char *wrong = symbols_read(&symbols, file, sizeof file);
    if (wrong != NULL)
        return wrong;
    const bool is_right = symbols.count == 1 && symbols.list[0].address == FUNCTION &&
                          text_is(symbols.list[0].name, "f");
    symbols_free(&symbols);
    if (!is_right)
        return "the file's one function was not found";

    const struct loam_attr attr = { LOAM_PROT_WRITE | LOAM_PROT_GLOBAL, LOAM_CACHE_WB };
    const struct loam_frame_request one = { .page_count = 1 };
    const struct loam_virt_range page =
        loam_virt_range_of(loam_virt_at(LAYOUT_SCRATCH), LOAM_PAGE_SIZE);
    struct loam_phys_range frame;
    if (loam_take(&memory, &one, LOAM_OWNER_KERNEL, &frame) != LOAM_OK ||
        loam_map(&memory, page, frame.start, attr) != LOAM_OK)
        return "no page for broken files";
    wrong = read_broken_files(file);
    if (loam_unmap(&memory, page) != LOAM_OK ||
        loam_give(&memory, frame, LOAM_OWNER_KERNEL) != LOAM_OK)
        return "cannot give the page back";
    return wrong;
}
