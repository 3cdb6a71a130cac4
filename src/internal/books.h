/*
 * books.h - what books.c does for other sources of its layer.
 */
#ifndef LOAM_INTERNAL_BOOKS_H
#define LOAM_INTERNAL_BOOKS_H

#include <loam/loam.h>

/* Record the owner of a range, with nodes for that if there are any. Under mm->books. On
 * failure nothing has changed. */
enum loam_status loam_books_record(struct loam *mm, struct loam_phys_range range,
                                   enum loam_owner owner) LOAM_NEEDS(mm->books);

/* Add up to @p count frames to a stock. @return how many */
uint64_t loam_books_refill(struct loam *mm, struct loam_stock *stock, enum loam_owner owner,
                           uint64_t count);

/* Give frames of a stock back until a level is reached. */
void loam_books_trim(struct loam *mm, struct loam_stock *stock, enum loam_owner owner,
                     uint64_t level);

/* The same of spare page tables, but not while another CPU has added some and not yet used
 * what it found; then free frames that wait to be retired. No lock is held. */
void loam_books_trim_tables(struct loam *mm);

/* What was tried for a request. */
struct books_try {
    bool is_drained; /* zeroed frames were given back: once, for idle CPUs may zero others */
    unsigned attempt;
};

/* A request has failed: is it worth another try? No lock is held. */
bool loam_books_relieve(struct loam *mm, enum loam_zone zone, uint64_t page_count,
                        struct books_try *tried);

/* What was tried for a block of the heap. */
struct books_heap_try {
    bool is_trimmed;
    struct books_try books;
};

/* The same for so many pages of the heap, which first gives back what it does not need. */
bool loam_books_heap_relieve(struct loam *mm, uint64_t page_count, struct books_heap_try *tried);

/* Do what the heap could not, where its pages are taken and given. No lock is held. */
void loam_books_heap_settle(struct loam *mm);

/* Count frames that were taken. @return true: enough since the last time to look how many
 * are left: loam_books_notice() */
bool loam_books_count(struct loam *mm, enum loam_owner owner, uint64_t page_count);

/* Call low() if memory has become scarce. No lock is held. */
void loam_books_notice(struct loam *mm, enum loam_zone zone, uint64_t page_count);

/* Strike frames off that are counted for an owner, and free them, but for what is to be
 * retired. No lock is held. */
void loam_books_return(struct loam *mm, struct loam_phys_range range, enum loam_owner owner);

/* Frames that were to be retired when they are given back may have become free since: taken
 * for used a moment before, or given back by the library itself. No lock is held. */
void loam_books_retire_free(struct loam *mm);

#endif
