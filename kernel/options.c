/*
 * options.c - see options.h.
 */
#include "options.h"

#include "text.h"

bool options_parse_fault(struct options *options, const char *text)
{
    static const char *const kinds[] = { "read:", "write:", "execute:" };
    options->fault_access = ACCESS_READ;
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *rest = text_after(text, kinds[i]);
        if (rest != NULL) {
            options->fault_access = (enum options_access)i;
            text = rest;
            break;
        }
    }
    options->fault = text_number(text, &options->fault_address);
    return options->fault;
}

static bool take_flag(struct options *options, const char *word)
{
    const struct {
        const char *word;
        bool *flag;
    } flags[] = {
        { "shell", &options->shell },
        { "quiet", &options->quiet },
        { "verbose", &options->verbose },
        { "reclaim", &options->reclaim },
        { "selftest", &options->selftest },
        { "soak", &options->soak },
        { "panic", &options->panic },
        { "deaf", &options->deaf },
        { "wildframe", &options->wild_frame },
        { "overflow", &options->overflow },
        { "doublefree", &options->double_free },
        { "probe", &options->probe },
        { "latecomer", &options->latecomer },
        { "heap-debug", &options->heap_debug },
        { "heap-overflow", &options->heap_overflow },
        { "heap-wrong-size", &options->heap_wrong_size },
    };
    for (unsigned i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (text_is(word, flags[i].word)) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

/* A size or a kind. */
static bool take_heap(struct options *options, const char *value)
{
    if (text_number(value, &options->heap_bytes))
        return true;
    options->heap_kind = loam_allocator_kind_of(value);
    return options->heap_kind != LOAM_ALLOCATOR_NONE;
}

static bool take_heap_lock(struct options *options, const char *value)
{
    options->heap_lock = text_is(value, "spin") ? LOAM_LOCKED_SPIN : LOAM_LOCKED_TICKET;
    return text_is(value, "spin") || text_is(value, "ticket");
}

static bool take_value(struct options *options, const char *word)
{
    const char *value;
    if ((value = text_after(word, "heap=")) != NULL)
        return take_heap(options, value);
    if ((value = text_after(word, "heap-lock=")) != NULL)
        return take_heap_lock(options, value);
    if ((value = text_after(word, "cpus=")) != NULL)
        return text_number(value, &options->cpu_count);
    if ((value = text_after(word, "panic=")) != NULL) {
        options->panic = true;
        return text_number(value, &options->panic_cpu);
    }
    if ((value = text_after(word, "fault=")) != NULL)
        return options_parse_fault(options, value);
    if ((value = text_after(word, "demo=")) != NULL) {
        text_copy(options->demo, value, sizeof options->demo);
        return true;
    }
    return false;
}

bool options_parse(struct options *options, const char *cmdline, char *bad)
{
    bool all_good = true;
    memset(options, 0, sizeof *options);
    options->heap_lock = LOAM_LOCKED_SPIN;
    for (const char *p = cmdline; *p != '\0';) {
        char word[OPTIONS_WORD_MAX];
        size_t length = 0;
        while (p[length] != '\0' && p[length] != ' ')
            length++;
        text_copy(word, p, length < sizeof word ? length + 1 : sizeof word);
        p += length;
        while (*p == ' ')
            p++;
        if (length == 0 || take_flag(options, word) || take_value(options, word))
            continue;
        if (all_good)
            text_copy(bad, word, OPTIONS_WORD_MAX);
        all_good = false;
    }
    return all_good;
}
