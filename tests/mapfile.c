/*
 * mapfile.c - see mapfile.h.
 *
 * A take_...() function reads something at a cursor into the line: on success it
 * moves the cursor behind it and the blanks that follow, else it returns false.
 */
#include "mapfile.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 4096

/* What a file is read into. */
struct mapfile_reader {
    struct mapfile map;
    size_t entry_max; /* room in map.entry */
    bool has_log;     /* entries of a Linux log */
    bool has_plain;   /* other entries */
    bool has_limine;  /* something that only the Limine protocol has */
    struct mapfile_error error;
};

static enum loam_status malformed(struct mapfile_reader *reader, const char *message)
{
    reader->error.message = message;
    return LOAM_INVALID;
}

/* ---- words and numbers --------------------------------------------------- */

static void skip_blanks(const char **at)
{
    while (**at == ' ' || **at == '\t')
        (*at)++;
}

static bool is_boundary(char c)
{
    return c == '\0' || c == ' ' || c == '\t';
}

/* Up to the first character that is no digit of the base, 10 or 16. */
static bool take_digits(const char **at, unsigned base, uint64_t *out)
{
    const char *digit = *at;
    uint64_t value = 0;

    for (; isxdigit((unsigned char)*digit); digit++) {
        const int c = tolower((unsigned char)*digit);
        const unsigned d = (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
        if (d >= base || value > (UINT64_MAX - d) / base)
            return false;
        value = value * base + d;
    }
    if (digit == *at)
        return false;
    skip_blanks(&digit);
    *at = digit;
    *out = value;
    return true;
}

static bool is_0x(const char *text)
{
    return text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

/* Hexadecimal, with or without 0x. */
static bool take_hex(const char **at, uint64_t *out)
{
    const char *digits = *at + (is_0x(*at) ? 2 : 0);

    if (!take_digits(&digits, 16, out))
        return false;
    *at = digits;
    return true;
}

/* Hexadecimal with 0x, else decimal. */
static bool take_number(const char **at, uint64_t *out)
{
    return is_0x(*at) ? take_hex(at, out) : take_digits(at, 10, out);
}

/* Exactly these characters, upper or lower case. */
static bool take_text(const char **at, const char *text)
{
    const char *c = *at;

    for (; *text != '\0'; text++, c++) {
        if (tolower((unsigned char)*c) != tolower((unsigned char)*text))
            return false;
    }
    skip_blanks(&c);
    *at = c;
    return true;
}

/* These characters as a whole word. */
static bool take_word(const char **at, const char *word)
{
    const char *c = *at;

    if (!take_text(&c, word) || !is_boundary((*at)[strlen(word)]))
        return false;
    *at = c;
    return true;
}

/* ---- metadata ------------------------------------------------------------ */

/* Each reads the value of one key; false if it is malformed. */
static bool read_bits(struct mapfile *map, const char *at)
{
    return take_number(&at, &map->phys_bits) && take_word(&at, "virt-bits") &&
           take_number(&at, &map->virt_bits);
}

static bool read_base_revision(struct mapfile *map, const char *at)
{
    if (!take_number(&at, &map->revision_requested))
        return false;
    map->revision_accepted = take_word(&at, "accepted");
    return (map->revision_accepted || take_word(&at, "NOT-accepted")) &&
           take_word(&at, "loaded-tag") && take_number(&at, &map->revision_loaded_tag);
}

static bool read_paging_mode(struct mapfile *map, const char *at)
{
    uint64_t mode;

    if (!take_number(&at, &mode) || mode > 1)
        return false;
    map->paging_levels = mode == 0 ? 4 : 5;
    return true;
}

static bool read_framebuffer(struct mapfile *map, const char *at)
{
    struct mapfile_framebuffer *fb = &map->framebuffer;

    return take_number(&at, &fb->address) && take_number(&at, &fb->width) && take_text(&at, "x") &&
           take_number(&at, &fb->height) && take_text(&at, "x") &&
           take_number(&at, &fb->bits_per_pixel) && take_word(&at, "pitch") &&
           take_number(&at, &fb->pitch);
}

static bool read_cpuid(struct mapfile *map, const char *at)
{
    uint64_t has_1g_pages;
    uint64_t has_nx;

    if (!take_word(&at, "pdpe1gb") || !take_number(&at, &has_1g_pages) || !take_word(&at, "nx") ||
        !take_number(&at, &has_nx))
        return false;
    map->has_1g_pages = has_1g_pages != 0;
    map->has_nx = has_nx != 0;
    return true;
}

#define NUMBER(member) NULL, offsetof(struct mapfile, member)

static enum loam_status read_metadata(struct mapfile_reader *reader, const char *at)
{
    static const struct {
        const char *key;
        enum mapfile_field field;
        bool (*read)(struct mapfile *map, const char *at);
        size_t offset; /* of the number, where there is no function */
    } keys[] = {
        { "hhdm", MAPFILE_HHDM, NUMBER(hhdm_offset) },
        { "phys-bits", MAPFILE_BITS, read_bits, 0 },
        { "base-revision-requested", MAPFILE_BASE_REVISION, read_base_revision, 0 },
        { "paging-mode", MAPFILE_PAGING_MODE, read_paging_mode, 0 },
        { "kernel-phys", MAPFILE_KERNEL_PHYS, NUMBER(kernel_phys) },
        { "kernel-virt", MAPFILE_KERNEL_VIRT, NUMBER(kernel_virt) },
        { "kernel-image-size", MAPFILE_KERNEL_IMAGE_SIZE, NUMBER(kernel_image_size) },
        { "cpu-count", MAPFILE_CPU_COUNT, NUMBER(cpu_count) },
        { "framebuffer", MAPFILE_FRAMEBUFFER, read_framebuffer, 0 },
        { "rsdp", MAPFILE_RSDP, NUMBER(rsdp) },
        { "cpuid", MAPFILE_CPUID, read_cpuid, 0 },
        { "firmware-type", MAPFILE_FIRMWARE_TYPE, NUMBER(firmware_type) },
    };
    struct mapfile *map = &reader->map;

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (!take_word(&at, keys[i].key))
            continue;
        if (keys[i].field == MAPFILE_FRAMEBUFFER && take_word(&at, "none"))
            return LOAM_OK;
        uint64_t number = 0;
        if (keys[i].read != NULL ? !keys[i].read(map, at) : !take_number(&at, &number))
            return malformed(reader, "known metadata key with a malformed value");
        if (keys[i].read == NULL)
            memcpy((char *)map + keys[i].offset, &number, sizeof number);
        map->present |= keys[i].field;
        return LOAM_OK;
    }
    return LOAM_OK;
}

/* ---- entries ------------------------------------------------------------- */

static enum loam_mem_type e820_type(uint64_t number)
{
    switch (number) {
    case 1:
        return LOAM_MEM_USABLE;
    case 2:
    case 7:
    case 12:
        return LOAM_MEM_RESERVED;
    case 3:
        return LOAM_MEM_ACPI_RECLAIMABLE;
    case 4:
        return LOAM_MEM_ACPI_NVS;
    case 5:
        return LOAM_MEM_BAD;
    default:
        return MAPFILE_UNKNOWN_TYPE(number);
    }
}

/* A type that is a number. */
static bool take_type_number(const char **at, enum loam_mem_type *out)
{
    const char *c = *at;
    uint64_t number;
    const bool is_persistent_name = take_text(&c, "PERSISTENT_TYPE");
    const bool is_persistent_text = !is_persistent_name && take_text(&c, "persistent (");

    if (!is_persistent_name && !take_text(&c, "TYPE_") && !take_word(&c, "type"))
        return false;
    if (!take_digits(&c, 10, &number) || number > UINT32_MAX)
        return false;
    if (is_persistent_text && !take_text(&c, ")"))
        return false;
    *at = c;
    *out = is_persistent_name ? MAPFILE_UNKNOWN_TYPE(number) : e820_type(number);
    return true;
}

/* A type by its name, or any other word. */
static bool take_type(struct mapfile_reader *reader, const char **at, enum loam_mem_type *out)
{
    static const struct {
        const char *name;
        enum loam_mem_type type;
        bool is_limine;
    } names[] = {
        { "USABLE", LOAM_MEM_USABLE, false },
        { "RESERVED", LOAM_MEM_RESERVED, false },
        { "BAD", LOAM_MEM_BAD, false },
        { "UNUSABLE", LOAM_MEM_BAD, false },
        { "ACPI_NVS", LOAM_MEM_ACPI_NVS, false },
        { "ACPI NVS", LOAM_MEM_ACPI_NVS, false },
        { "ACPI_DATA", LOAM_MEM_ACPI_RECLAIMABLE, false },
        { "ACPI data", LOAM_MEM_ACPI_RECLAIMABLE, false },
        { "ACPI_RECLAIMABLE", LOAM_MEM_ACPI_RECLAIMABLE, true },
        { "BOOTLOADER_RECLAIMABLE", LOAM_MEM_BOOT_RECLAIMABLE, true },
        { "EXECUTABLE_AND_MODULES", LOAM_MEM_EXECUTABLE, true },
        { "FRAMEBUFFER", LOAM_MEM_FRAMEBUFFER, true },
        { "RESERVED_MAPPED", LOAM_MEM_RESERVED_MAPPED, true },
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (take_word(at, names[i].name)) {
            *out = names[i].type;
            reader->has_limine |= names[i].is_limine;
            return true;
        }
    }
    if (take_type_number(at, out))
        return true;
    if (!isalpha((unsigned char)**at))
        return false;
    while (isalnum((unsigned char)**at) || **at == '_')
        (*at)++;
    *out = MAPFILE_UNKNOWN_TYPE(0);
    skip_blanks(at);
    return true;
}

static enum loam_status add_entry(struct mapfile_reader *reader,
                                  const struct loam_memmap_entry *entry)
{
    struct mapfile *map = &reader->map;

    if (map->entry_count == reader->entry_max) {
        const size_t entry_max = reader->entry_max != 0 ? 2 * reader->entry_max : 32;
        struct loam_memmap_entry *grown = realloc(map->entry, entry_max * sizeof *grown);
        if (grown == NULL) {
            reader->error.message = "out of memory";
            return LOAM_NO_MEMORY;
        }
        map->entry = grown;
        reader->entry_max = entry_max;
    }
    map->entry[map->entry_count++] = *entry;
    return LOAM_OK;
}

/* base length TYPE */
static enum loam_status read_plain_entry(struct mapfile_reader *reader, const char *at)
{
    struct loam_memmap_entry entry;

    if (!take_hex(&at, &entry.range.start.addr) || !take_hex(&at, &entry.range.size))
        return malformed(reader, "not two hexadecimal numbers of at most 64 bits");
    if (!take_type(reader, &at, &entry.type) || *at != '\0')
        return malformed(reader, "not one type after base and length");
    reader->has_plain = true;
    return add_entry(reader, &entry);
}

/* [mem first-last] type */
static enum loam_status read_log_entry(struct mapfile_reader *reader, const char *at)
{
    struct loam_memmap_entry entry;
    uint64_t first;
    uint64_t last;

    skip_blanks(&at);
    if (!take_text(&at, "[mem") || !take_hex(&at, &first) || !take_text(&at, "-") ||
        !take_hex(&at, &last) || !take_text(&at, "]"))
        return malformed(reader, "not [mem first-last] after BIOS-e820:");
    if (last < first || last - first == UINT64_MAX)
        return malformed(reader, "first and last address make no range");
    if (!take_type(reader, &at, &entry.type) || *at != '\0')
        return malformed(reader, "not one type after the range");
    entry.range = loam_phys_range_of(loam_phys_at(first), last - first + 1);
    reader->has_log = true;
    return add_entry(reader, &entry);
}

/* ---- lines --------------------------------------------------------------- */

static enum loam_status read_content(struct mapfile_reader *reader, const char *line)
{
    static const char log_mark[] = "BIOS-e820:";
    const char *at = line;

    skip_blanks(&at);
    if (*at == '\0')
        return LOAM_OK;
    if (*at == '#') {
        at++;
        skip_blanks(&at);
        return read_metadata(reader, at);
    }
    const char *log = strstr(at, log_mark);
    if (log == NULL && *at == '[')
        return LOAM_OK;
    const enum loam_status st = log != NULL ? read_log_entry(reader, log + sizeof log_mark - 1)
                                            : read_plain_entry(reader, at);
    if (st == LOAM_OK && reader->has_log && reader->has_plain)
        return malformed(reader, "plain entry and log entry in one file");
    return st;
}

/* The next line without its end. Sets @p more to whether there was one. */
static enum loam_status read_line(struct mapfile_reader *reader, FILE *stream,
                                  char line[LINE_MAX_BYTES], bool *more)
{
    size_t length = 0;
    int c = getc(stream);

    *more = c != EOF;
    reader->error.line++;
    for (; c != EOF && c != '\n'; c = getc(stream)) {
        if (c == '\0')
            return malformed(reader, "zero byte in a line");
        if (length == LINE_MAX_BYTES - 1)
            return malformed(reader, "line is too long");
        line[length++] = (char)c;
    }
    while (length > 0 && strchr(" \t\r", line[length - 1]) != NULL)
        length--;
    line[length] = '\0';
    return LOAM_OK;
}

static enum loam_status read_all(struct mapfile_reader *reader, FILE *stream)
{
    char line[LINE_MAX_BYTES];
    bool more = true;

    while (more) {
        enum loam_status st = read_line(reader, stream, line, &more);
        if (st == LOAM_OK)
            st = read_content(reader, line);
        if (st != LOAM_OK)
            return st;
    }
    reader->error.line = 0;
    if (ferror(stream))
        return malformed(reader, "reading failed");
    if (reader->map.entry_count == 0)
        return malformed(reader, "no memory map entry");
    return LOAM_OK;
}

enum loam_status mapfile_read(struct mapfile *map, FILE *stream, struct mapfile_error *error)
{
    struct mapfile_reader reader;

    memset(&reader, 0, sizeof reader);
    const enum loam_status st = read_all(&reader, stream);
    if (st != LOAM_OK) {
        if (error != NULL)
            *error = reader.error;
        mapfile_free(&reader.map);
        return st;
    }
    if ((reader.map.present & (MAPFILE_HHDM | MAPFILE_BASE_REVISION)) != 0)
        reader.has_limine = true;
    reader.map.format = reader.has_log      ? MAPFILE_DMESG
                        : reader.has_limine ? MAPFILE_LIMINE
                                            : MAPFILE_E820;
    *map = reader.map;
    return LOAM_OK;
}

enum loam_status mapfile_load(struct mapfile *map, const char *path, struct mapfile_error *error)
{
    FILE *stream = fopen(path, "r");

    if (stream == NULL) {
        if (error != NULL) {
            error->line = 0;
            error->message = "cannot open the file";
        }
        return LOAM_NOT_FOUND;
    }
    const enum loam_status st = mapfile_read(map, stream, error);
    fclose(stream);
    return st;
}

void mapfile_free(struct mapfile *map)
{
    free(map->entry);
    map->entry = NULL;
    map->entry_count = 0;
}

const char *mapfile_format_name(enum mapfile_format format)
{
    switch (format) {
    case MAPFILE_LIMINE:
        return "limine";
    case MAPFILE_E820:
        return "e820";
    case MAPFILE_DMESG:
        return "dmesg";
    }
    return "unknown format";
}
