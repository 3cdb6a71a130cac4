/*
 * loam_config.h - the options of the library that is measured: it asks for the CPU as its
 * peers do, without a call.
 */
#ifndef LOAM_BENCH_FRAMES_CONFIG_H
#define LOAM_BENCH_FRAMES_CONFIG_H

extern _Thread_local unsigned frames_cpu;

#define LOAM_PORT_CPU_INLINE 1
static inline unsigned loam_port_cpu(void)
{
    return frames_cpu;
}

#endif
