// What this crate relies on in Loam's headers. Included by build.rs too, which has
// the C compiler confirm every line.

/// C expressions and their values: structs and constants that sys.rs repeats.
pub const FACTS: &[(&str, usize)] = &[
    ("sizeof(struct loam_allocator)", 16),
    ("sizeof(enum loam_allocator_kind)", 4),
    ("offsetof(struct loam_allocator, heap)", 8),
    ("LOAM_ALLOCATOR_BUMP", 1),
    ("LOAM_ALLOCATOR_FREELIST_SIZED", 3),
    ("LOAM_ALLOCATOR_BLOCK", 4),
    ("LOAM_ALLOCATOR_ARENA", 5),
    ("LOAM_ALLOCATOR_HEAP", 6),
    ("sizeof(struct loam_locked_options)", 32),
    ("sizeof(enum loam_locked_kind)", 4),
    ("offsetof(struct loam_locked_options, allocator)", 0),
    ("offsetof(struct loam_locked_options, caller_lock)", 16),
    ("offsetof(struct loam_locked_options, lock)", 24),
    ("offsetof(struct loam_locked_options, leave_interrupts)", 28),
    ("offsetof(struct loam_locked_options, debug)", 29),
    ("LOAM_LOCKED_SPIN", 1),
    ("sizeof(struct loam_resize)", 24),
    ("offsetof(struct loam_resize, old_bytes)", 0),
    ("offsetof(struct loam_resize, size_bytes)", 8),
    ("offsetof(struct loam_resize, align)", 16),
    ("sizeof(struct loam_allocator_stats)", 24),
    ("offsetof(struct loam_allocator_stats, used_bytes)", 0),
    ("offsetof(struct loam_allocator_stats, peak_bytes)", 8),
    ("offsetof(struct loam_allocator_stats, used_count)", 16),
    ("sizeof(struct loam_locked_stats)", 56),
    ("offsetof(struct loam_locked_stats, heap)", 0),
    ("offsetof(struct loam_locked_stats, alloc_count)", 24),
    ("offsetof(struct loam_locked_stats, free_count)", 32),
    ("offsetof(struct loam_locked_stats, realloc_count)", 40),
    ("offsetof(struct loam_locked_stats, refusal_count)", 48),
    ("sizeof(struct loam_block_fallback)", 16),
    ("offsetof(struct loam_block_fallback, freelist)", 0),
    ("offsetof(struct loam_block_fallback, arena)", 8),
    ("sizeof(struct loam_panic)", 40),
    ("offsetof(struct loam_panic, rule)", 0),
    ("offsetof(struct loam_panic, file)", 8),
    ("offsetof(struct loam_panic, line)", 16),
    ("offsetof(struct loam_panic, subject)", 24),
    ("offsetof(struct loam_panic, detail)", 32),
    ("LOAM_OK", 0),
    ("LOAM_INVALID", 3),
    ("LOAM_OVERLAP", 4),
];

pub const LOCKED_WORDS: usize = 128;
pub const BUMP_WORDS: usize = 16;
pub const FREELIST_WORDS: usize = 64;
pub const BLOCK_WORDS: usize = 128;
pub const ARENA_WORDS: usize = 640;

/// C structs that are opaque here, and the words set aside for each.
pub const ROOM: &[(&str, usize)] = &[
    ("struct loam_locked", LOCKED_WORDS),
    ("struct loam_bump", BUMP_WORDS),
    ("struct loam_freelist", FREELIST_WORDS),
    ("struct loam_block", BLOCK_WORDS),
    ("struct loam_arena", ARENA_WORDS),
];
