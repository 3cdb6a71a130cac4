/*
 * record_fuzz.c - any sequence of calls of the records, and of the frame allocator
 * beside them, against an array with what is known of each page. Wrong calls must
 * panic with the right rule and change nothing.
 *
 *     page   base                             base + 1030
 *          [ H2/1 . . . | P | F | F | H0/3 | A | ... )
 *            head, references   free          absent
 */
#include "harness.h"

#include <loam/record.h>

#include "fuzz.h"
#include "machine.h"

#define PAGES 1030u
#define BASE  UINT64_C(1021) /* a block of 2 MiB in the middle, rests at both ends */
#define HOLE  700u           /* page that is absent */
#define CPUS  2u

enum kind { ABSENT, FREE, PLAIN, HEAD, REST };

struct page {
    enum kind kind;
    unsigned order, count;
};

static struct {
    struct loam_frame frame;
    struct loam_record record;
    struct page page[PAGES];
} world;

static loam_phys at_page(uint64_t page)
{
    return loam_phys_at((BASE + page) * LOAM_PAGE_SIZE);
}

static uint64_t digest(void)
{
    return loam_record_digest(&world.record) ^ loam_frame_digest(&world.frame) * 3;
}

static bool all_are(uint64_t page, uint64_t count, enum kind kind)
{
    if (page > PAGES || count > PAGES - page)
        return false;
    for (uint64_t i = page; i < page + count; i++)
        if (world.page[i].kind != kind)
            return false;
    return true;
}

static void set_all(uint64_t page, uint64_t count, enum kind from, enum kind to)
{
    FUZZ_CHECK(all_are(page, count, from));
    for (uint64_t i = page; i < page + count; i++)
        world.page[i] = (struct page){ to, 0, 0 };
}

static void set_block(uint64_t page, unsigned order, enum kind from)
{
    set_all(page, UINT64_C(1) << order, from, REST);
    world.page[page] = (struct page){ HEAD, order, 1 };
}

/* First page of the block that a page is in. */
static uint64_t head_of(uint64_t page)
{
    while (world.page[page].kind == REST)
        page--;
    return page;
}

/* Whoever has frames writes to them. */
static void fill(uint64_t page, uint64_t count)
{
    if (world.record.poison)
        memset(machine_ram(at_page(page).addr), (int)count, count * LOAM_PAGE_SIZE);
}

/* ---- calls --------------------------------------------------------------- */

enum does { GET, PUT, SPLIT, ADOPT };

static void do_call(enum does does, loam_phys block, unsigned order, bool *is_last)
{
    switch (does) {
    case GET:
        loam_record_get(&world.record, block);
        break;
    case PUT:
        *is_last = loam_record_put(&world.record, block, order);
        break;
    case SPLIT:
        loam_record_split(&world.record, block, order);
        break;
    default:
        loam_record_adopt(&world.record, block, order);
        break;
    }
}

/* The rule that a call broke, or NULL. */
static const char *call_breaks(enum does does, loam_phys block, unsigned order, bool *is_last)
{
    panic_trap.armed = true;
    if (setjmp(panic_trap.landing) != 0) {
        FUZZ_CHECK(panic_trap.seen.subject == block.addr || does == ADOPT);
        return panic_trap.seen.rule;
    }
    do_call(does, block, order, is_last);
    panic_trap.armed = false;
    return NULL;
}

/* Does a block of this order begin here, as far as addresses go? */
static bool is_place(uint64_t page, unsigned order)
{
    const uint64_t count = order <= LOAM_ORDER_MAX ? UINT64_C(1) << order : 0;

    if (count == 0 || (BASE + page) % count != 0 || count > PAGES || page > PAGES - count)
        return false;
    for (uint64_t i = page; i < page + count; i++)
        if (world.page[i].kind == ABSENT)
            return false;
    return true;
}

static const char *rule_of_adopt(uint64_t page, unsigned order)
{
    if (!is_place(page, order))
        return "record: not a frame of this memory";
    for (uint64_t i = page; i < page + (UINT64_C(1) << order); i++)
        if (world.page[i].kind == HEAD || world.page[i].kind == REST)
            return "record: already has a record";
    return NULL;
}

static const char *rule_of(enum does does, uint64_t page, unsigned order)
{
    const struct page at = page < PAGES ? world.page[page] : (struct page){ ABSENT, 0, 0 };

    if (does == ADOPT)
        return rule_of_adopt(page, order);
    if (at.kind == ABSENT)
        return "record: not a frame of this memory";
    if (at.kind == REST)
        return "record: inside a block";
    if (at.kind != HEAD)
        return "record: not allocated";
    if (does != GET && at.order != order)
        return "record: wrong order";
    return does == SPLIT && at.count != 1 ? "record: block is shared" : NULL;
}

static void note(enum does does, uint64_t page, unsigned order, bool is_last)
{
    struct page *const at = &world.page[page];

    switch (does) {
    case GET:
        at->count++;
        break;
    case PUT:
        FUZZ_CHECK(is_last == (at->count == 1));
        at->count--;
        if (at->count == 0) {
            at->kind = REST;
            set_all(page, UINT64_C(1) << order, REST, FREE);
        }
        break;
    case SPLIT:
        for (uint64_t i = 0; i < UINT64_C(1) << order; i++)
            world.page[page + i] = (struct page){ HEAD, 0, 1 };
        break;
    default:
        set_block(page, order, PLAIN);
        fill(page, UINT64_C(1) << order);
        break;
    }
}

static void call(enum does does, uint64_t page, unsigned order)
{
    const char *const expected = rule_of(does, page, order);
    const uint64_t before = digest();
    bool is_last = false;

    if (does == ADOPT && expected == NULL) {
        const uint64_t count = UINT64_C(1) << order;
        if (all_are(page, count, PLAIN)) /* it was written to */
            loam_record_forget(&world.record,
                               loam_phys_range_of(at_page(page), count * LOAM_PAGE_SIZE));
        else
            return; /* of free frames: not seen before an audit */
    }
    const char *const broken = call_breaks(does, at_page(page), order, &is_last);
    FUZZ_CHECK((broken == NULL) == (expected == NULL));
    if (broken == NULL) {
        note(does, page, order, is_last);
        return;
    }
    FUZZ_CHECK(strcmp(broken, expected) == 0);
    FUZZ_CHECK(digest() == before);
}

/* ---- steps --------------------------------------------------------------- */

static void allocate(unsigned order, bool is_plain)
{
    const loam_phys block = is_plain ? loam_frame_alloc(&world.frame, order, LOAM_ZONE_ANY)
                                     : loam_record_alloc(&world.record, order, LOAM_ZONE_ANY);

    if (loam_phys_is_none(block))
        return;
    const uint64_t page = block.addr / LOAM_PAGE_SIZE - BASE;
    const uint64_t count = UINT64_C(1) << order;
    if (is_plain) { /* as record.h asks */
        set_all(page, count, FREE, PLAIN);
        loam_record_forget(&world.record, loam_phys_range_of(block, count * LOAM_PAGE_SIZE));
    } else {
        set_block(page, order, FREE);
    }
    fill(page, count);
}

static void compare(void)
{
    for (uint64_t page = 0; page < PAGES; page++) {
        const struct page at = world.page[page];
        struct loam_record_block block;
        const bool found = loam_record_find(&world.record, at_page(page), &block);
        FUZZ_CHECK(found == (at.kind == HEAD || at.kind == REST));
        FUZZ_CHECK(loam_record_count(&world.record, at_page(page)) == at.count);
        if (!found)
            continue;
        const uint64_t head = head_of(page);
        FUZZ_CHECK(block.start.addr == at_page(head).addr);
        FUZZ_CHECK(block.order == world.page[head].order);
        FUZZ_CHECK(block.count == world.page[head].count);
    }
}

static void step(struct fuzz_input *input)
{
    const unsigned kind = (unsigned)fuzz_take(input, 1);
    const uint64_t page = fuzz_take(input, 2) % (PAGES + 3);
    const unsigned order = (unsigned)fuzz_take(input, 1);
    const bool is_right = kind >= 64; /* with the order that is there */
    const unsigned known = page < PAGES ? world.page[page].order : 0;

    machine_set_cpu(kind / 8 % CPUS);
    switch (kind % 8) {
    case 0:
    case 1:
        allocate(order % 11, kind >= 192);
        break;
    case 2:
        call(GET, page, 0);
        break;
    case 3:
        call(SPLIT, page, is_right ? known : order % 22);
        break;
    case 4:
        call(ADOPT, page, order % 22);
        break;
    case 5:
        if (page < PAGES && world.page[page].kind == PLAIN) {
            loam_frame_free(&world.frame, at_page(page), 0);
            set_all(page, 1, PLAIN, FREE);
        }
        break;
    default:
        call(PUT, page, is_right ? known : order % 22);
        break;
    }
}

static void begin(bool poison)
{
    static _Alignas(64) unsigned char frame_memory[8192];
    static _Alignas(64) unsigned char memory[8192];
    const struct loam_phys_range range[] = {
        { at_page(0), HOLE * LOAM_PAGE_SIZE },
        { at_page(HOLE + 1), (PAGES - HOLE - 1) * LOAM_PAGE_SIZE },
    };
    const struct loam_frame_setup setup = {
        range, 2, CPUS, frame_memory, sizeof frame_memory, false,
    };

    machine_reset(CPUS);
    if (poison)
        machine_add_ram(at_page(0).addr, PAGES * LOAM_PAGE_SIZE);
    memset(&world, 0, sizeof world);
    FUZZ_CHECK(loam_frame_init(&world.frame, &setup) == LOAM_OK);
    const struct loam_record_setup records = {
        &world.frame, machine_hhdm(), memory, sizeof memory, false, poison,
    };
    FUZZ_CHECK(loam_record_init(&world.record, &records) == LOAM_OK);
    set_all(0, PAGES, ABSENT, FREE);
    set_all(HOLE, 1, FREE, ABSENT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = { data, size };

    begin(fuzz_take(&input, 1) % 2 != 0);
    while (input.left > 0)
        step(&input);
    compare();
    fuzz_check_sound(loam_record_audit(&world.record));
    fuzz_check_sound(loam_frame_audit(&world.frame));
    for (uint64_t page = 0; page < PAGES; page++)
        while (world.page[page].kind == HEAD)
            call(PUT, page, world.page[page].order);
    compare();
    fuzz_check_sound(loam_record_audit(&world.record));
    return 0;
}
