//! Loam's C interface, as far as it is used here. Layouts: layout.rs.

pub const ALLOCATOR_BUMP: u32 = 1;
pub const ALLOCATOR_FREELIST_SIZED: u32 = 3;
pub const ALLOCATOR_BLOCK: u32 = 4;
pub const ALLOCATOR_ARENA: u32 = 5;

pub const LOCKED_SPIN: u32 = 1;

pub const OK: u32 = 0;
pub const OVERLAP: u32 = 4;

/// Storage for a C struct that is only ever used through its own functions.
#[repr(C, align(16))]
pub struct Words<const N: usize>(pub [u64; N]);

#[repr(C)]
pub struct Allocator {
    pub kind: u32,
    pub heap: *mut u8,
}

#[repr(C)]
pub struct LockedOptions {
    pub allocator: Allocator,
    pub caller_lock: *mut u8,
    pub lock: u32,
    pub leave_interrupts: bool,
    pub debug: bool,
}

#[repr(C)]
pub struct Resize {
    pub old_bytes: usize,
    pub size_bytes: usize,
    pub align: usize,
}

#[repr(C)]
#[derive(Default)]
pub struct LockedStats {
    pub used_bytes: usize,
    pub peak_bytes: usize,
    pub used_count: usize,
    pub alloc_count: u64,
    pub free_count: u64,
    pub realloc_count: u64,
    pub refusal_count: u64,
}

#[repr(C)]
pub struct BlockFallback {
    pub freelist: *mut u8,
    pub arena: *mut u8,
}

extern "C" {
    pub fn loam_bump_init(bump: *mut u8, span: *mut u8, size_bytes: usize) -> u32;
    pub fn loam_freelist_init(list: *mut u8, span: *mut u8, size_bytes: usize) -> u32;
    pub fn loam_block_init(block: *mut u8, fallback: *const BlockFallback) -> u32;
    pub fn loam_arena_init(arena: *mut u8);
    pub fn loam_arena_claim(arena: *mut u8, span: *mut u8, size_bytes: usize) -> u32;

    pub fn loam_locked_init(locked: *mut u8, options: *const LockedOptions) -> u32;
    pub fn loam_locked_acquire(locked: *mut u8) -> u64;
    pub fn loam_locked_release(locked: *mut u8, state: u64);
    pub fn loam_locked_alloc(locked: *mut u8, size_bytes: usize, align: usize) -> *mut u8;
    pub fn loam_locked_calloc(
        locked: *mut u8,
        count: usize,
        size_bytes: usize,
        align: usize,
    ) -> *mut u8;
    pub fn loam_locked_free_sized(locked: *mut u8, block: *mut u8, size_bytes: usize);
    pub fn loam_locked_realloc(locked: *mut u8, block: *mut u8, resize: *const Resize) -> *mut u8;
    pub fn loam_locked_measure(locked: *mut u8, out: *mut LockedStats);
    pub fn loam_locked_audit(locked: *mut u8) -> *const u8;
}
