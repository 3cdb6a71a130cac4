/*
 * loam_config.h - the library's options in this kernel: which CPU it runs on is one load
 * relative to GS (cpu.h), not a call. No thread is ever moved or stopped for another one
 * inside the kernel, so that the heap's lists need no guard but its flag; handlers may
 * allocate.
 */
#ifndef KERNEL_LOAM_CONFIG_H
#define KERNEL_LOAM_CONFIG_H

#define LOAM_GUARD LOAM_GUARD_NONE

#define LOAM_PORT_CPU_INLINE 1
static inline unsigned loam_port_cpu(void)
{
    unsigned index;
    __asm__ volatile("movl %%gs:8, %0" : "=r"(index));
    return index;
}

#endif
