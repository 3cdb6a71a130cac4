/*
 * vmap_fuzz.c - any sequence of allocations, device mappings, windows, frees and purges,
 * on a small machine now and then short of memory: what is there is mapped, frames are
 * counted, and what is refused has changed nothing.
 */
#include "fuzz.h"

#include "loam_world.h"

#define LIVE_MAX 12u
#define PAGES(n) ((uint64_t)(n)*LOAM_PAGE_SIZE)

struct live {
    enum loam_vmap_kind kind;
    loam_virt at;
    uint64_t pages;
    struct loam_vmap_window window;
};

static struct live lives[LIVE_MAX];
static uint64_t hoarded; /* frames taken to make memory short */

/* All pages of a range are mapped, its neighbours are not. */
static void check(const struct live *live)
{
    struct loam_translation seen;

    if (live->kind == LOAM_VMAP_NONE)
        return;
    const uint64_t start = loam_page_floor(live->at.addr);
    for (uint64_t page = 0; page < live->pages; page++)
        FUZZ_CHECK(loam_space_query(&mm.space, loam_virt_at(start + PAGES(page)), &seen) ==
                   LOAM_OK);
    FUZZ_CHECK(loam_space_query(&mm.space, loam_virt_at(start - 1), &seen) == LOAM_NOT_FOUND);
    FUZZ_CHECK(loam_space_query(&mm.space, loam_virt_at(start + PAGES(live->pages)), &seen) ==
               LOAM_NOT_FOUND);
}

static struct loam_vmap_request request_of(struct fuzz_input *input)
{
    const uint64_t shape = fuzz_take(input, 4);
    const struct loam_vmap_request request = {
        .size_bytes = fuzz_take(input, 3) >> (shape & 7),
        .attr = { (loam_prot)(shape >> 3 & 31), (enum loam_cache)(shape >> 8 & 7) },
        .align_bytes = (shape >> 11 & 3) == 0 ? UINT64_C(1) << (shape >> 13 & 31) : 0,
        .guard_pages = shape >> 18 & 7,
        .dice = (shape >> 21 & 3) == 0 ? shape : 0,
        .is_zeroed = (shape >> 23 & 1) != 0,
    };
    return request;
}

static void make(struct fuzz_input *input, struct live *live)
{
    const uint64_t digest = loam_digest(&mm);
    const bool any_waits = mm.vmap.ranges.waiting_count != 0;
    const uint64_t what = fuzz_take(input, 1);
    const struct loam_vmap_request request = request_of(input);
    struct loam_virt_range stack = { { 0 }, 0 };
    enum loam_status status = LOAM_OK;

    live->pages = request.size_bytes / LOAM_PAGE_SIZE + !loam_is_page_aligned(request.size_bytes);
    if (what < 128) {
        live->kind = LOAM_VMAP_MEMORY;
        status = loam_vmap_alloc(&mm, &request, &live->at);
    } else if (what < 170) {
        live->kind = LOAM_VMAP_STACK;
        status = loam_vmap_stack(&mm, request.size_bytes, NULL, &stack);
        live->at = stack.start;
    } else if (what < 220) {
        const uint64_t phys = fuzz_take(input, 5);
        live->kind = LOAM_VMAP_DEVICE;
        live->pages = ((phys & (LOAM_PAGE_SIZE - 1)) + request.size_bytes + LOAM_PAGE_SIZE - 1) /
                      LOAM_PAGE_SIZE;
        status = loam_vmap_device(&mm, loam_phys_range_of(loam_phys_at(phys), request.size_bytes),
                                  request.attr.cache, NULL, &live->at);
    } else {
        live->kind = LOAM_VMAP_WINDOW;
        status = loam_vmap_window_open(&mm, &live->window, &request);
        live->at = live->window.range.start;
        live->pages = 0;
    }
    if (status == LOAM_OK)
        return;
    live->kind = LOAM_VMAP_NONE;
    FUZZ_CHECK(any_waits || loam_digest(&mm) == digest);
}

static void drop(struct fuzz_input *input, struct live *live)
{
    switch (live->kind) {
    case LOAM_VMAP_MEMORY:
        loam_vmap_free(&mm, live->at);
        break;
    case LOAM_VMAP_STACK:
        loam_vmap_stack_free(&mm, live->at);
        break;
    case LOAM_VMAP_DEVICE:
        loam_vmap_device_free(&mm, live->at);
        break;
    default:
        if (fuzz_take(input, 1) >= 64) {
            const enum loam_status status =
                loam_vmap_window_resize(&mm, &live->window, fuzz_take(input, 3));
            FUZZ_CHECK(status == LOAM_OK || status == LOAM_NO_SPACE || status == LOAM_NO_MEMORY);
            live->pages = live->window.front_bytes / LOAM_PAGE_SIZE;
            return;
        }
        loam_vmap_window_close(&mm, &live->window);
        break;
    }
    live->kind = LOAM_VMAP_NONE;
}

/* Take memory, until hardly any is left, or give nothing back: there is another input. */
static void hoard(struct fuzz_input *input)
{
    const uint64_t rest = fuzz_take(input, 1);
    loam_phys frame[64];

    while (loam_owner_bytes(&mm, LOAM_OWNER_USABLE) > PAGES(rest + 64)) {
        const size_t taken = loam_take_bulk(&mm, LOAM_ZONE_ANY, LOAM_OWNER_KERNEL, frame, 64);
        hoarded += taken;
        if (taken == 0)
            return;
    }
}

static void check_frames(void)
{
    struct loam_vrange_info info;
    loam_virt at = mm.vmap.window.start;
    uint64_t pages = hoarded;

    for (unsigned i = 0; i < LIVE_MAX; i++) {
        check(&lives[i]);
        if (lives[i].kind != LOAM_VMAP_NONE && lives[i].kind != LOAM_VMAP_DEVICE)
            pages += lives[i].pages;
    }
    while (loam_vrange_next(&mm.vmap.ranges, at, &info)) {
        if (info.state == LOAM_VRANGE_WAITING && info.tag != LOAM_VMAP_DEVICE)
            pages += info.range.size / LOAM_PAGE_SIZE;
        if (!loam_vrange_info_end(&info, &at))
            break;
    }
    FUZZ_CHECK(total(LOAM_OWNER_KERNEL) == PAGES(pages));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };

    small_machine(1);
    memset(lives, 0, sizeof(lives));
    hoarded = 0;
    FUZZ_CHECK(loam_init(&mm, &boot, &refusal) == LOAM_OK);
    while (input.left > 0) {
        const uint64_t what = fuzz_take(&input, 1);
        struct live *live = &lives[what % LIVE_MAX];
        if (what >= 250)
            (void)loam_vmap_purge(&mm);
        else if (what == 249)
            hoard(&input);
        else if (live->kind == LOAM_VMAP_NONE)
            make(&input, live);
        else
            drop(&input, live);
        fuzz_check_sound(loam_audit(&mm));
        check_frames();
    }
    return 0;
}
