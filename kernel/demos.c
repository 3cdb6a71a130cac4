/*
 * demos.c - see demos.h.
 */
#include "demos.h"

#include "log.h"
#include "memory.h"
#include "text.h"

static const struct demo {
    const char *name;
    const char *what;
    bool (*run)(struct loam_locked *heap);
} demos[] = {
    { "box", "one value and one struct on the heap", demo_box },
    { "vec", "a growable array of values that have a block each", demo_vec },
    { "strings", "a growable array of texts", demo_strings },
    { "string", "a text that grows by appending", demo_string },
    { "mapping", "one frame seen at two addresses", demo_mapping },
    { "heap-at-0x8000000", "a heap on a thousand pages mapped one by one", demo_mapped_heap },
    { "heaps", "the values once more, over a private heap of each kind", demo_heaps },
    { "pairs", "what malloc and free of 16 bytes cost", demo_pairs },
    { "shootdown", "one CPU unmaps what all others use", demo_shootdown },
    { "cow", "two address spaces that share pages until they are written to", demo_cow },
    { "wc", "the framebuffer at two addresses: write-combining and uncached", demo_wc },
    { "usage", "which memory belongs to whom", demo_usage },
};
#define DEMO_COUNT (sizeof demos / sizeof demos[0])

static bool run(const struct demo *demo)
{
    const struct memory_snapshot before = memory_snapshot_take();
    log_info("demo %s: %s", demo->name, demo->what);
    const bool went_well = demo->run(&memory.heap);
    const bool is_clean = memory_snapshot_holds(&before, demo->name);
    if (went_well && is_clean)
        log_info("demo %s ok", demo->name);
    else
        log_error("demo %s FAILED", demo->name);
    return went_well && is_clean;
}

bool demos_run(const char *name)
{
    for (size_t i = 0; i < DEMO_COUNT; i++) {
        if (text_is(demos[i].name, name))
            return run(&demos[i]);
    }
    log_error("there is no demo %s", name);
    return false;
}

bool demos_run_all(void)
{
    const struct memory_snapshot before = memory_snapshot_take();
    bool all_well = true;
    for (size_t i = 0; i < DEMO_COUNT; i++)
        all_well = run(&demos[i]) && all_well;
    if (!memory_snapshot_holds(&before, "all demos"))
        return false;
    log_info("after all demos: audit sound, usage and heap as before");
    return all_well;
}

void demos_list(void)
{
    for (size_t i = 0; i < DEMO_COUNT; i++)
        log_info("%-18s %s", demos[i].name, demos[i].what);
}
