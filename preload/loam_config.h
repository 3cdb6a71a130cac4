/*
 * loam_config.h - the library's options in libloam.so: a "CPU" is a thread.
 */
#ifndef PRELOAD_LOAM_CONFIG_H
#define PRELOAD_LOAM_CONFIG_H

#define LOAM_CPUS_MAX     1024
#define LOAM_X86_SIM      1
#define LOAM_PAGEMAP_FLAT 1
#define LOAM_GUARD        LOAM_GUARD_NONE

/* Of the running thread; any number for one that has no lists of its own. */
#define LOAM_PORT_CPU_INLINE 1
extern __thread unsigned preload_thread_index __attribute__((tls_model("initial-exec")));
static inline unsigned loam_port_cpu(void)
{
    return preload_thread_index;
}

#endif
