/*
 * vrange_print.c - see vrange.h: ranges and gaps as text. Only public functions are
 * called here.
 */
#include <loam/vrange.h>

#include "internal/text.h"

static void vrange_print_line(const struct loam_writer *writer, const struct loam_vrange_info *info)
{
    static const char *const states[] = { "free", "used", "waiting", "cached" };
    const uint64_t first = info->range.start.addr - (info->guard_before << LOAM_PAGE_SHIFT);
    const uint64_t bytes =
        info->range.size + ((info->guard_before + info->guard_after) << LOAM_PAGE_SHIFT);

    loam_text_hex(writer, first);
    loam_text_string(writer, "-");
    loam_text_hex(writer, first + (bytes - 1));
    loam_text_string(writer, "   ");
    loam_text_size(writer, bytes, LOAM_TEXT_SIZE_MAX);
    if (info->state != LOAM_VRANGE_FREE) {
        loam_text_decimal(writer, info->guard_before, 3);
        loam_text_string(writer, "+");
        loam_text_decimal(writer, info->guard_after, 0);
    } else {
        loam_text_left(writer, "", 5);
    }
    loam_text_string(writer, "  ");
    loam_text_left(writer, states[info->state], 9);
    if (info->state == LOAM_VRANGE_USED || info->state == LOAM_VRANGE_WAITING)
        loam_text_string(writer, info->name);
    loam_text_string(writer, "\n");
}

void loam_vrange_print(struct loam_vrange *vrange, const struct loam_writer *writer)
{
    struct loam_vrange_info info;
    loam_virt at = loam_virt_at(0);
    bool more = loam_vrange_next(vrange, at, &info);

    while (more) { /* terminates: at strictly increases */
        vrange_print_line(writer, &info);
        more = loam_vrange_info_end(&info, &at) && loam_vrange_next(vrange, at, &info);
    }
}
