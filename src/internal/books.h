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

#endif
