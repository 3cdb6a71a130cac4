/*
 * options.c - the shim's own words on the command line.
 *
 *   shim.revision=N         know base revisions up to N only (3 to 6)
 *   shim.no=NAME[,NAME...]  leave these requests unanswered
 *   shim.map=none|empty     a memory map without usable memory, or without entries
 *   shim.hhdm=HEX           another HHDM base
 *   shim.extra=TYPE:BASE:LENGTH[,...]  raw entries after the memory map (HEX)
 *   shim.phantom=BASE:LENGTH  whole pages above 4 GiB, called usable, that are not there (HEX)
 *   shim.entries=N          usable memory in pieces: about N entries
 *   shim.limit=BYTES        no usable memory from here on (decimal, K, M, G or 0x)
 *   shim.verbose            say what was found and where it went
 *   shim.trap               raise an exception, to see it reported
 */
#include "cpu.h"
#include "shim.h"

static const char *const request_names[REQUEST_COUNT] = {
    [REQUEST_BOOTLOADER_INFO] = "info",
    [REQUEST_STACK_SIZE] = "stack",
    [REQUEST_HHDM] = "hhdm",
    [REQUEST_FRAMEBUFFER] = "framebuffer",
    [REQUEST_PAGING_MODE] = "paging",
    [REQUEST_MP] = "mp",
    [REQUEST_MEMMAP] = "memmap",
    [REQUEST_EXECUTABLE_FILE] = "file",
    [REQUEST_MODULE] = "modules",
    [REQUEST_RSDP] = "rsdp",
    [REQUEST_EXECUTABLE_ADDRESS] = "address",
    [REQUEST_EXECUTABLE_CMDLINE] = "cmdline",
};

static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0');
    if (c >= 'a' && c <= 'f')
        return (unsigned)(c - 'a') + 10;
    if (c >= 'A' && c <= 'F')
        return (unsigned)(c - 'A') + 10;
    return 16;
}

/* A number in @p radix, or in 16 after 0x; *cursor moves behind it. */
static uint64_t number(const char **cursor, unsigned radix)
{
    const char *p = *cursor;
    uint64_t value = 0;

    if (p[0] == '0' && p[1] == 'x') {
        radix = 16;
        p += 2;
    }
    if (digit_of(*p) >= radix)
        fail("an option on the command line needs a number");
    for (; digit_of(*p) < radix; p++)
        value = value * radix + digit_of(*p);
    *cursor = p;
    return value;
}

static uint64_t byte_count(const char *text)
{
    const uint64_t value = number(&text, 10);

    switch (*text) {
    case 'K':
        return value << 10;
    case 'M':
        return value << 20;
    case 'G':
        return value << 30;
    default:
        return value;
    }
}

static void parse_unanswered(struct options *options, const char *list)
{
    while (*list != '\0') {
        unsigned i = 0;
        while (i < REQUEST_COUNT && !text_starts(list, request_names[i]))
            i++;
        if (i == REQUEST_COUNT)
            fail("shim.no: no such request");
        options->unanswered |= 1u << i;
        list += text_length(request_names[i]);
        if (*list == ',')
            list++;
    }
}

static void parse_extra(struct options *options, const char *list)
{
    for (;;) {
        struct loam_limine_memmap_entry entry;
        entry.type = number(&list, 16);
        if (*list++ != ':')
            fail("shim.extra: expected TYPE:BASE:LENGTH");
        entry.base = number(&list, 16);
        if (*list++ != ':')
            fail("shim.extra: expected TYPE:BASE:LENGTH");
        entry.length = number(&list, 16);
        if (options->extra_count == EXTRA_MAX)
            fail("shim.extra: too many entries");
        options->extra[options->extra_count++] = entry;
        if (*list++ != ',')
            return;
    }
}

static void parse_map(struct options *options, const char *value)
{
    if (text_starts(value, "none"))
        options->map_answer = MAP_NO_USABLE;
    else if (text_starts(value, "empty"))
        options->map_answer = MAP_NO_ENTRIES;
    else
        fail("shim.map: none or empty");
}

/* The value of option @p name in @p word, or NULL if it is another option. */
static const char *value_of(const char *word, const char *name)
{
    return text_starts(word, name) ? word + text_length(name) : NULL;
}

static void parse_word(struct options *options, const char *word)
{
    const char *value;

    if ((value = value_of(word, "shim.revision=")) != NULL) {
        options->revision_max = (unsigned)number(&value, 10);
        if (options->revision_max < LOAM_LIMINE_REVISION_MIN ||
            options->revision_max > LOAM_LIMINE_REVISION_WANTED)
            fail("shim.revision: 3 to 6");
    } else if ((value = value_of(word, "shim.no=")) != NULL) {
        parse_unanswered(options, value);
    } else if ((value = value_of(word, "shim.map=")) != NULL) {
        parse_map(options, value);
    } else if ((value = value_of(word, "shim.hhdm=")) != NULL) {
        options->hhdm = number(&value, 16);
    } else if ((value = value_of(word, "shim.extra=")) != NULL) {
        parse_extra(options, value);
    } else if ((value = value_of(word, "shim.entries=")) != NULL) {
        options->split_count = number(&value, 10);
    } else if ((value = value_of(word, "shim.phantom=")) != NULL) {
        options->phantom_base = number(&value, 16);
        if (*value++ != ':')
            fail("shim.phantom: expected BASE:LENGTH");
        options->phantom_size = number(&value, 16);
    } else if ((value = value_of(word, "shim.limit=")) != NULL) {
        options->limit = byte_count(value);
    } else if (value_of(word, "shim.verbose") != NULL) {
        options->verbose = true;
    } else if (value_of(word, "shim.trap") != NULL) {
        cpu_raise_undefined();
    } else {
        say("shim: ");
        say(word);
        say("\n");
        fail("no such option");
    }
}

void options_parse(struct options *options, char *cmdline)
{
    char *rest = cmdline; /* where the kernel's next word goes */
    char *p = cmdline;

    *options = (struct options){ .revision_max = LOAM_LIMINE_REVISION_WANTED, .limit = PHYS_LIMIT };
    while (*p != '\0') {
        size_t length = 0;
        while (p[length] != '\0' && p[length] != ' ')
            length++;
        const size_t step = length + (p[length] == ' ');
        if (text_starts(p, "shim.")) {
            p[length] = '\0';
            parse_word(options, p);
        } else {
            memmove(rest, p, step);
            rest += step;
        }
        p += step;
    }
    while (rest > cmdline && rest[-1] == ' ')
        rest--;
    *rest = '\0';
}
