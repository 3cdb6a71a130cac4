/*
 * probe.c - see probe.h; the accesses themselves are in trap.S.
 */
#include "probe.h"

#include "cpu.h"

extern const char probe_read_at[], probe_write_at[], probe_failed[];
bool probe_call(uint64_t address);

bool probe_execute(uint64_t address)
{
    struct cpu *self = cpu_self();
    self->probe_target = address;
    const bool done = probe_call(address);
    self->probe_target = 0;
    return done;
}

bool probe_recover(struct trap_frame *frame)
{
    const uint64_t failed = (uint64_t)(uintptr_t)probe_failed;
    if (frame->rip == (uint64_t)(uintptr_t)probe_read_at ||
        frame->rip == (uint64_t)(uintptr_t)probe_write_at) {
        frame->rip = failed;
        return true;
    }
    const uint64_t target = cpu_self()->probe_target;
    if (target != 0 && frame->rip == target) {
        frame->rip = failed;
        frame->rsp += sizeof(uint64_t); /* the return address into probe_call() */
        return true;
    }
    return false;
}
