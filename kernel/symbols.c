/*
 * symbols.c - see symbols.h. The file is the bootloader's word: every offset in
 * it is checked against its size, and it is read bytewise, since nothing in it
 * need be aligned.
 */
#include "symbols.h"

#include "loader.h"
#include "log.h"
#include "malloc.h"
#include "memory.h"
#include "text.h"

/* ELF-64 object file format, version 1.5: figures 2, 8 and 15. */
#define ELF_CLASS_64     2u
#define ELF_LITTLE       1u
#define ELF_MACHINE_X86  62u
#define ELF_SYMBOL_TABLE 2u
#define ELF_STRING_TABLE 3u
#define ELF_FUNCTION     2u
#define ELF_KIND_MASK    0xfu
#define SYMBOLS_MAX      65536u

struct elf_header {
    uint8_t magic[4], class, order, version, padding[9];
    uint16_t type, machine;
    uint32_t file_version;
    uint64_t entry, segments, sections;
    uint32_t flags;
    uint16_t header_size, segment_size, segment_count, section_size, section_count, name_section;
};

struct elf_section {
    uint32_t name, kind;
    uint64_t flags, address, offset, size;
    uint32_t link, info;
    uint64_t align, entry_size;
};

struct elf_symbol {
    uint32_t name;
    uint8_t info, other;
    uint16_t section;
    uint64_t value, size;
};

struct elf_file {
    const uint8_t *bytes;
    size_t size;
};

static struct symbols kernel_symbols;

/* ---- reading --------------------------------------------------------------- */

static bool has(const struct elf_file *file, uint64_t offset, uint64_t size)
{
    return size <= file->size && offset <= file->size - size;
}

static bool read_section(const struct elf_file *file, const struct elf_header *header,
                         uint32_t index, struct elf_section *out)
{
    const uint64_t at = (uint64_t)index * sizeof *out;
    if (index >= header->section_count || header->sections > file->size ||
        !has(file, header->sections + at, sizeof *out))
        return false;
    memcpy(out, file->bytes + header->sections + at, sizeof *out);
    return true;
}

/* Find the symbol table and its names; whole, and inside the file. */
static const char *find_tables(const struct elf_file *file, struct elf_section *symbols,
                               struct elf_section *names)
{
    struct elf_header header;
    if (!has(file, 0, sizeof header))
        return "shorter than an ELF header";
    memcpy(&header, file->bytes, sizeof header);
    if (memcmp(header.magic, "\177ELF", sizeof header.magic) != 0)
        return "no ELF file";
    if (header.class != ELF_CLASS_64 || header.order != ELF_LITTLE ||
        header.machine != ELF_MACHINE_X86 || header.section_size != sizeof *symbols)
        return "no ELF file of this machine";
    for (uint32_t i = 0;; i++) {
        if (!read_section(file, &header, i, symbols))
            return "no symbol table";
        if (symbols->kind == ELF_SYMBOL_TABLE)
            break;
    }
    if (!read_section(file, &header, symbols->link, names) || names->kind != ELF_STRING_TABLE)
        return "no names beside the symbol table";
    if (!has(file, symbols->offset, symbols->size) || !has(file, names->offset, names->size))
        return "symbols or names reach past the end of the file";
    if (names->size == 0 || file->bytes[names->offset + names->size - 1] != '\0')
        return "the last name has no end";
    if (symbols->entry_size != sizeof(struct elf_symbol))
        return "symbols of an unknown size";
    return NULL;
}

/* Is it a function with a name? A name that begins inside the table ends there. */
static bool read_function(const struct elf_file *file, uint64_t at, const struct elf_section *names,
                          struct elf_symbol *out)
{
    memcpy(out, file->bytes + at, sizeof *out);
    return (out->info & ELF_KIND_MASK) == ELF_FUNCTION && out->value != 0 &&
           out->name < names->size && file->bytes[names->offset + out->name] != '\0';
}

/* Shell sort by address, gaps 3^k / 2: in place, short, and quick for thousands. */
static void sort(struct symbol *list, size_t count)
{
    size_t gap = 1;
    while (gap < count)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3) {
        for (size_t i = gap; i < count; i++) {
            const struct symbol moved = list[i];
            size_t at = i;
            for (; at >= gap && list[at - gap].address > moved.address; at -= gap)
                list[at] = list[at - gap];
            list[at] = moved;
        }
    }
}

const char *symbols_read(struct symbols *symbols, const void *bytes, size_t size)
{
    const struct elf_file file = { bytes, size };
    struct elf_section table, names;
    struct elf_symbol symbol;
    size_t count = 0, name_bytes = 0;
    const char *wrong = find_tables(&file, &table, &names);
    if (wrong != NULL)
        return wrong;

    const uint64_t end = table.offset + table.size / sizeof symbol * sizeof symbol;
    for (uint64_t at = table.offset; at < end; at += sizeof symbol) {
        if (!read_function(&file, at, &names, &symbol))
            continue;
        count++;
        name_bytes += text_length((const char *)file.bytes + names.offset + symbol.name) + 1;
    }
    if (count == 0 || count > SYMBOLS_MAX)
        return "no functions among the symbols, or too many";
    struct symbol *list = malloc(count * sizeof *list);
    char *copies = malloc(name_bytes);
    if (list == NULL || copies == NULL) {
        free(list);
        free(copies);
        return "no memory for the names";
    }

    *symbols = (struct symbols){ list, copies, count };
    for (uint64_t at = table.offset; at < end; at += sizeof symbol) {
        if (!read_function(&file, at, &names, &symbol))
            continue;
        const char *name = (const char *)file.bytes + names.offset + symbol.name;
        const size_t length = text_length(name) + 1;
        memcpy(copies, name, length);
        *list++ = (struct symbol){ symbol.value, symbol.size, copies };
        copies += length;
    }
    sort(symbols->list, count);
    return NULL;
}

void symbols_free(struct symbols *symbols)
{
    free(symbols->list);
    free(symbols->names);
    *symbols = (struct symbols){ NULL, NULL, 0 };
}

/* ---- the kernel's own ---------------------------------------------------------- */

void symbols_load(void)
{
    const struct loam_limine_executable_file_response *response =
        loader_limine.executable_file.response;
    if (response == NULL || !memory_is_mapped(response, sizeof *response) ||
        !memory_is_mapped(response->file, sizeof *response->file) ||
        !memory_is_mapped(response->file->address, response->file->size)) {
        log_info("symbols: the bootloader shows no executable file");
        return;
    }
    const char *wrong =
        symbols_read(&kernel_symbols, response->file->address, response->file->size);
    if (wrong != NULL)
        log_warn("symbols: %s", wrong);
    else
        log_info("symbols: %zu functions", kernel_symbols.count);
}

bool symbols_find(uint64_t address, struct symbol *out)
{
    const struct symbols *symbols = &kernel_symbols;
    size_t low = 0, high = symbols->count; /* list[low - 1] <= address < list[high] */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (symbols->list[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return false;
    const struct symbol *found = &symbols->list[low - 1];
    if (address - found->address >= (found->size != 0 ? found->size : 1))
        return false;
    *out = *found;
    return true;
}
