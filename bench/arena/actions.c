/* actions.c - draw up and carry out workloads. */
#include "actions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct bench_workload bench_workloads[BENCH_WORKLOADS] = {
    { "mixed", 2048, 1, 64 << 10, 3, 3, true },
    { "small", 16384, 8, 512, 3, 3, true },
    { "noreallocsmall", 16384, 8, 512, 3, 3, false },
    { "aligned", 1024, 8, 4096, 4, 12, true },
};

/* ---- drawing ------------------------------------------------------------------- */

uint64_t bench_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static uint32_t random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)((bench_random(state) >> 32) * limit >> 32);
}

uint32_t bench_random_size(uint64_t *state, uint32_t min, uint32_t max)
{
    const double part = (double)(bench_random(state) >> 11) * 0x1p-53;
    const double size = min * exp2(part * log2((max + 1.0) / min));
    return size < max ? (uint32_t)size : max;
}

/* The live set while actions are drawn up. */
struct tide {
    uint16_t slots[BENCH_SLOTS]; /* a permutation: the live ones first */
    uint32_t slot_count, live;
    bool rising;
};

static enum bench_kind tide_kind(struct tide *tide, uint64_t *state, bool with_realloc)
{
    if (tide->live >= tide->slot_count / 8 * 7)
        tide->rising = false;
    else if (tide->live <= tide->slot_count / 8)
        tide->rising = true;
    const uint32_t draw = random_below(state, with_realloc ? 7 : 6);
    if (tide->live == 0 || (tide->live < tide->slot_count && draw < (tide->rising ? 4u : 2u)))
        return BENCH_ALLOC;
    return draw < 6 ? BENCH_FREE : BENCH_REALLOC;
}

void bench_actions_draw(const struct bench_workload *workload, struct bench_action *actions,
                        size_t count)
{
    static struct tide tide;
    uint64_t state = 1;
    tide = (struct tide){ .slot_count = workload->slots, .rising = true };
    for (uint32_t i = 0; i < workload->slots; i++)
        tide.slots[i] = (uint16_t)i;

    for (size_t i = 0; i < count; i++) {
        const enum bench_kind kind = tide_kind(&tide, &state, workload->realloc);
        const uint32_t first = kind == BENCH_ALLOC ? tide.live : 0;
        const uint32_t choices = kind == BENCH_ALLOC ? workload->slots - first : tide.live;
        const uint32_t pick = first + random_below(&state, choices);
        const uint16_t slot = tide.slots[pick];
        if (kind != BENCH_REALLOC) { /* across the border between live and not */
            const uint32_t border = kind == BENCH_ALLOC ? tide.live++ : --tide.live;
            tide.slots[pick] = tide.slots[border];
            tide.slots[border] = slot;
        }
        actions[i] = (struct bench_action){
            .size_bytes = bench_random_size(&state, workload->size_min, workload->size_max),
            .slot = slot,
            .kind = (uint8_t)kind,
            .align_shift = (uint8_t)(workload->align_shift_min +
                                     random_below(&state, workload->align_shift_max + 1u -
                                                              workload->align_shift_min)),
        };
    }
}

/* ---- carrying out -------------------------------------------------------------- */

size_t bench_actions_run(const struct bench_heap *heap, struct bench_slot *slots,
                         const struct bench_action *actions, size_t count)
{
    size_t failures = 0;
    for (size_t i = 0; i < count; i++) {
        const struct bench_action action = actions[i];
        struct bench_slot *slot = &slots[action.slot];
        if (action.kind == BENCH_ALLOC) {
            slot->size_bytes = action.size_bytes;
            slot->align = 1u << action.align_shift;
            slot->block = heap->alloc(action.size_bytes, slot->align);
            if (slot->block == NULL) {
                failures++;
                continue;
            }
            slot->block[0] = 1;
            slot->block[action.size_bytes - 1] = 2;
        } else if (slot->block == NULL) {
            continue;
        } else if (action.kind == BENCH_FREE) {
            heap->free(slot->block, slot->size_bytes, slot->align);
            slot->block = NULL;
        } else {
            unsigned char *block =
                heap->realloc(slot->block, slot->size_bytes, action.size_bytes, slot->align);
            if (block == NULL) {
                failures++;
                continue;
            }
            slot->block = block;
            slot->size_bytes = action.size_bytes;
            block[action.size_bytes - 1] = 2;
        }
    }
    return failures;
}

void bench_slots_free(const struct bench_heap *heap, struct bench_slot *slots)
{
    for (size_t i = 0; i < BENCH_SLOTS; i++) {
        if (slots[i].block != NULL)
            heap->free(slots[i].block, slots[i].size_bytes, slots[i].align);
        slots[i].block = NULL;
    }
}

/* ---- checking ------------------------------------------------------------------ */

/* The byte that fills what a slot holds. */
static unsigned char slot_byte(size_t slot)
{
    return (unsigned char)(slot * 37 + 1);
}

static void slot_fill(const struct bench_slot *slot, size_t index)
{
    memset(slot->block, slot_byte(index), slot->size_bytes);
}

static void slot_expect(const struct bench_heap *heap, const struct bench_slot *slot, size_t index,
                        size_t size_bytes)
{
    const char *fault = NULL;
    if (((uintptr_t)slot->block & (slot->align - 1)) != 0)
        fault = "is not aligned";
    for (size_t i = 0; i < size_bytes && fault == NULL; i++)
        if (slot->block[i] != slot_byte(index))
            fault = "was overwritten or not kept";
    if (fault == NULL)
        return;
    (void)fprintf(stderr, "bench-arena: %s: block %p of %u bytes, aligned to %u, %s\n", heap->name,
                  (void *)slot->block, slot->size_bytes, slot->align, fault);
    exit(1);
}

void bench_actions_check(const struct bench_heap *heap, struct bench_slot *slots,
                         const struct bench_action *actions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct bench_action *action = &actions[i];
        struct bench_slot *slot = &slots[action->slot];
        const struct bench_slot before = *slot;
        if (action->kind != BENCH_ALLOC && before.block != NULL)
            slot_expect(heap, slot, action->slot, before.size_bytes);

        const size_t failures = bench_actions_run(heap, slots, action, 1);
        if (slot->block == NULL || failures != 0)
            continue;
        if (action->kind == BENCH_REALLOC) { /* its last byte was written */
            const uint32_t kept =
                before.size_bytes < slot->size_bytes ? before.size_bytes : slot->size_bytes - 1;
            slot_expect(heap, slot, action->slot, kept);
        }
        slot_fill(slot, action->slot);
        slot_expect(heap, slot, action->slot, slot->size_bytes);
    }
}
