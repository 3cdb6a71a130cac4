/*
 * selftest.c - see selftest.h.
 */
#include "selftest.h"

#include "log.h"
#include "memory.h"

static const struct test {
    const char *name;
    const char *(*run)(void);
} tests[] = {
    { "audit", selftest_audit },
    { "init-twice", selftest_init_twice },
    { "malloc", selftest_malloc },
    { "write-xor-execute", selftest_write_xor_execute },
    { "text-aliases", selftest_text_aliases },
    { "no-execute", selftest_no_execute },
    { "guards", selftest_guards },
    { "framebuffer", selftest_framebuffer },
    { "registers", selftest_registers },
    { "tlb-remap", selftest_tlb_remap },
    { "tlb-unmap", selftest_tlb_unmap },
    { "tlb-protect", selftest_tlb_protect },
    { "paging", selftest_paging },
    { "stress", selftest_stress },
    { "heap-stress", selftest_heap_stress },
    { "frames", selftest_frames },
    { "zeroed", selftest_zeroed },
    { "numa", selftest_numa },
    { "symbols", selftest_symbols },
};

bool selftest_run(void)
{
    bool all_good = true;
    memory_idle_stop();
    for (unsigned i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        const struct memory_snapshot before = memory_snapshot_take();
        const char *wrong = tests[i].run();
        if (!memory_snapshot_holds(&before, tests[i].name) && wrong == NULL)
            wrong = "it left something behind";
        if (wrong == NULL) {
            log_info("selftest %s ok", tests[i].name);
        } else {
            log_error("selftest %s FAILED: %s", tests[i].name, wrong);
            all_good = false;
        }
    }
    memory_idle_resume();
    return all_good;
}
