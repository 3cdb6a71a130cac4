/*
 * loam_config.h - the library's options in this kernel: which CPU it runs on is one load
 * relative to GS (cpu.h), not a call.
 */
#ifndef KERNEL_LOAM_CONFIG_H
#define KERNEL_LOAM_CONFIG_H

#define LOAM_PORT_CPU_INLINE 1
static inline unsigned loam_port_cpu(void)
{
    unsigned index;
    __asm__ volatile("movl %%gs:8, %0" : "=r"(index));
    return index;
}

#endif
