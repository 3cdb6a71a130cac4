/*
 * peer.h - what the benchmark calls: all page tables, Loam's and its peers', behind
 * the same functions through pointers, so that a call costs the same for all.
 *
 * Mapped is one area, from PAGING_AREA up. The memory behind it is only numbers; the
 * tables are real, and in memory that stands for a direct map.
 */
#ifndef BENCH_PAGING_PEER_H
#define BENCH_PAGING_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGING_PAGE  UINT64_C(4096)
#define PAGING_LARGE (UINT64_C(2) << 20)
#define PAGING_AREA  UINT64_C(0xffff900000000000) /* one entry of the root is below it */
#define PAGING_NONE  UINT64_MAX

/* Physical address of the first frame for tables. Not 0: that is no frame for any. */
#define PAGING_TABLES UINT64_C(0x100000)

struct paging_setup {
    unsigned char *memory; /* the first frame for tables, page-aligned; full of rubbish */
    uint64_t frame_count;  /* of them, as many as the area needs */
    uint64_t area_bytes, page_size;
};

/* One set of tables at a time. Addresses and sizes are in bytes. Pages are of 4 KiB
 * unless said otherwise, for the kernel, and not to be executed. */
struct paging_peer {
    const char *name;
    /* Nothing is mapped. Forgets what was before. */
    bool (*init)(const struct paging_setup *setup);
    uint64_t (*root)(void); /* physical address; 0: there are no tables */
    /* A range of the area, writable; the pages are of page_size. */
    bool (*map)(uint64_t virt, uint64_t phys, uint64_t size, uint64_t page_size);
    bool (*protect)(uint64_t virt, uint64_t size); /* a range: no longer writable */
    bool (*unmap)(uint64_t virt, uint64_t size);
    bool (*map_page)(uint64_t virt, uint64_t phys);
    /* Pages anywhere in the area, as one job: with as few flushes as the peer can.
     * Returns how many, or PAGING_NONE when it failed. */
    uint64_t (*unmap_pages)(const uint64_t *virts, size_t count);
    uint64_t (*translate)(uint64_t virt); /* physical address or PAGING_NONE */
};

/* What unmapping takes of the other CPUs. */
struct paging_shootdowns {
    uint64_t flushes; /* calls of the hook */
    uint64_t ipis;    /* CPUs that they asked */
};

/**
 * Map an area for Loam alone, and unmap pages of it on one of @p cpus CPUs.
 *
 * @param setup of 4 KiB pages
 * @param virts @p count pages of the area
 * @param job   so many in one batch
 */
struct paging_shootdowns paging_shootdowns(const struct paging_setup *setup, unsigned cpus,
                                           const uint64_t *virts, size_t count, size_t job);

/* Each table ends with an entry without a name. */
extern const struct paging_peer paging_loam[];
extern const struct paging_peer paging_limit[]; /* no page tables: what none can beat */
extern const struct paging_peer paging_empty[]; /* does nothing: what the benchmark costs */
extern const struct paging_peer PAGING_PEERS[]; /* bench/peers-paging */

#endif
