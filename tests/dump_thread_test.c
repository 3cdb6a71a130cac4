/*
 * dump_thread_test.c - dumps and reports of faults while other CPUs change what they
 * are about.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include <loam/explain.h>

#include "names_world.h"

#define CHANGES 400u

static _Atomic(bool) done;

/* Last of the lines counted. */
struct count {
    unsigned lines;
    char last;
};

static void count_write(void *context, const char *text, size_t size_bytes)
{
    struct count *const count = context;
    for (size_t i = 0; i < size_bytes; i++)
        count->lines += text[i] == '\n';
    count->last = text[size_bytes - 1];
}

/* Ranges come and go, mapped onto frames that come and go. */
static void *change(void *unused)
{
    machine_set_cpu(1);
    for (unsigned i = 0; i < CHANGES; i++) {
        const struct loam_vrange_request request = { .page_count = 1 + i % 5, .name = "changing" };
        const struct loam_attr attr = { LOAM_PROT_WRITE, LOAM_CACHE_WB };
        const uint64_t size = request.page_count * LOAM_PAGE_SIZE;
        struct loam_vrange_batch batch;
        struct loam_phys_range frames;
        loam_virt at;
        const struct loam_frame_request want = { .page_count = request.page_count };
        if (loam_vrange_alloc(&vrange, &request, &at) != LOAM_OK ||
            loam_take(&mm, &want, LOAM_OWNER_KERNEL, &frames) != LOAM_OK ||
            loam_map(&mm, virt_range(at.addr, size), frames.start, attr) != LOAM_OK ||
            loam_unmap(&mm, virt_range(at.addr, size)) != LOAM_OK ||
            loam_give(&mm, frames, LOAM_OWNER_KERNEL) != LOAM_OK)
            break;
        loam_vrange_free(&vrange, virt_range(at.addr, size));
        if (i % 8 == 7 && loam_vrange_purge_begin(&vrange, &batch))
            loam_vrange_purge_end(&batch);
        if (i + 1 == CHANGES)
            atomic_store(&done, true);
    }
    return unused;
}

static void a_space_that_changes_can_be_dumped_and_explained(void **state)
{
    pthread_t thread;
    unsigned rounds = 0, lines = 0;

    (void)state;
    named_machine();
    atomic_store(&done, false);
    assert_int_equal(pthread_create(&thread, NULL, change, NULL), 0);
    do {
        struct count count = { 0, 0 };
        const struct loam_writer writer = { count_write, &count };
        const struct loam_fault fault = {
            { WINDOW + rounds % 6 * LOAM_PAGE_SIZE }, 0, { 0 }, loam_phys_none()
        };
        if (rounds % 4 == 0)
            loam_space_dump(&names, &writer);
        else
            loam_explain_fault(&names, &fault, &writer);
        if (rounds % 4 == 0)
            lines += count.lines >= 10 && count.last == '\n';
        rounds++;
    } while (!atomic_load(&done) && rounds < 100000);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(atomic_load(&done));
    assert_int_equal(lines, (rounds + 3) / 4);
    assert_null(loam_audit(&mm));
}

int main(void)
{
    const struct CMUnitTest thread_tests[] = {
        cmocka_unit_test(a_space_that_changes_can_be_dumped_and_explained),
    };
    return RUN_TESTS(thread_tests);
}
