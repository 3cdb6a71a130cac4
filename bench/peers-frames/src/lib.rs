//! buddy_system_allocator behind the C functions of `struct frames_peer` in
//! `bench/frames/peer.h`: bare for one thread, and locked as its authors do.

use buddy_system_allocator::{FrameAllocator, LockedFrameAllocator};
use core::ffi::{c_char, c_uint, c_void};
use core::ptr;

const BASE: u64 = 4 << 30; // FRAMES_BASE
const FRAME_SHIFT: u32 = 12;
const ORDER_MAX: c_uint = 18;

/// Same layout as `struct frames_setup`.
#[repr(C)]
pub struct Setup {
    memory: *mut c_void,
    frame_count: u64,
    cpu_count: c_uint,
    is_zeroed: bool,
}

/// Same layout as `struct frames_peer`.
#[repr(C)]
pub struct FramesPeer {
    name: *const c_char,
    order_max: c_uint,
    is_shared: bool,
    is_limit: bool,
    metadata_bytes: Option<extern "C" fn(u64, c_uint) -> usize>,
    init: Option<unsafe extern "C" fn(*const Setup) -> bool>,
    alloc: Option<unsafe extern "C" fn(c_uint) -> u64>,
    free: Option<unsafe extern "C" fn(u64, c_uint)>,
    alloc_bulk: *const c_void,
    free_bulk: *const c_void,
}

// The pointers are to literals and functions.
unsafe impl Sync for FramesPeer {}

extern "C" fn metadata_bytes(_frame_count: u64, _cpu_count: c_uint) -> usize {
    0
}

fn frames(setup: &Setup) -> core::ops::Range<usize> {
    let first = (BASE >> FRAME_SHIFT) as usize;
    first..first + setup.frame_count as usize
}

fn address(frame: Option<usize>) -> u64 {
    frame.map_or(u64::MAX, |frame| (frame as u64) << FRAME_SHIFT)
}

mod bare {
    use super::*;

    static mut BUDDY: FrameAllocator = FrameAllocator::new();

    /// One thread calls, and holds no reference across calls.
    #[inline(always)]
    unsafe fn buddy() -> &'static mut FrameAllocator {
        &mut *ptr::addr_of_mut!(BUDDY)
    }

    pub unsafe extern "C" fn init(setup: *const Setup) -> bool {
        *buddy() = FrameAllocator::new();
        buddy().insert(frames(&*setup));
        true
    }

    pub unsafe extern "C" fn alloc(order: c_uint) -> u64 {
        address(buddy().alloc(1 << order))
    }

    pub unsafe extern "C" fn free(address: u64, order: c_uint) {
        buddy().dealloc((address >> FRAME_SHIFT) as usize, 1 << order)
    }
}

mod locked {
    use super::*;

    static BUDDY: LockedFrameAllocator = LockedFrameAllocator::new();

    pub unsafe extern "C" fn init(setup: *const Setup) -> bool {
        let mut buddy = BUDDY.lock();
        *buddy = FrameAllocator::new();
        buddy.insert(frames(&*setup));
        true
    }

    pub unsafe extern "C" fn alloc(order: c_uint) -> u64 {
        address(BUDDY.lock().alloc(1 << order))
    }

    pub unsafe extern "C" fn free(address: u64, order: c_uint) {
        BUDDY
            .lock()
            .dealloc((address >> FRAME_SHIFT) as usize, 1 << order)
    }
}

macro_rules! peer {
    ($name:literal, $module:ident, $is_shared:literal) => {
        FramesPeer {
            name: concat!($name, "\0").as_ptr().cast(),
            order_max: ORDER_MAX,
            is_shared: $is_shared,
            is_limit: false,
            metadata_bytes: Some(metadata_bytes),
            init: Some($module::init),
            alloc: Some($module::alloc),
            free: Some($module::free),
            alloc_bulk: ptr::null(),
            free_bulk: ptr::null(),
        }
    };
}

/// All peers; ends with one without a name.
#[no_mangle]
pub static FRAMES_PEERS: [FramesPeer; 3] = [
    peer!("buddy", bare, false),
    peer!("buddy-lock", locked, true),
    FramesPeer {
        name: ptr::null(),
        order_max: 0,
        is_shared: false,
        is_limit: false,
        metadata_bytes: None,
        init: None,
        alloc: None,
        free: None,
        alloc_bulk: ptr::null(),
        free_bulk: ptr::null(),
    },
];
