//! LLFree behind the C functions of `struct frames_peer` in `bench/frames/peer.h`, as
//! its own benchmark sets it up: two classes, a reservation for each CPU and class.

use core::ffi::{c_char, c_uint, c_void};
use core::ptr;
use core::slice;

use llfree::{Alloc, Class, Classing, FrameId, Init, LLFree, MetaData, Request};
use llfree::{HUGE_ORDER, TREE_ORDER};

const BASE: u64 = 4 << 30; // FRAMES_BASE
const FRAME_SHIFT: u32 = 12;
const ALIGN: usize = 4096;

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
    metadata_bytes: extern "C" fn(u64, c_uint) -> usize,
    init: unsafe extern "C" fn(*const Setup) -> bool,
    alloc: unsafe extern "C" fn(c_uint) -> u64,
    free: unsafe extern "C" fn(u64, c_uint),
    alloc_bulk: *const c_void,
    free_bulk: *const c_void,
}

// The pointers are to literals and functions.
unsafe impl Sync for FramesPeer {}

extern "C" {
    fn loam_port_cpu() -> c_uint;
}

static mut LLFREE: Option<LLFree<'static>> = None;

/// Replaced only while nobody else calls.
#[inline(always)]
unsafe fn llfree() -> &'static LLFree<'static> {
    (*ptr::addr_of!(LLFREE)).as_ref().unwrap_unchecked()
}

#[inline(always)]
unsafe fn request(order: c_uint) -> Request {
    let class = Class((order as usize >= HUGE_ORDER) as u8);
    Request::new(order as usize, class, Some(loam_port_cpu() as usize))
}

fn padded(size: usize) -> usize {
    size.next_multiple_of(ALIGN)
}

extern "C" fn metadata_bytes(frame_count: u64, cpu_count: c_uint) -> usize {
    let (classing, _) = Classing::simple(cpu_count as usize);
    let need = LLFree::metadata_size(&classing, frame_count as usize);
    padded(need.local) + padded(need.trees) + padded(need.lower)
}

unsafe extern "C" fn init(setup: *const Setup) -> bool {
    let setup = &*setup;
    let (classing, _) = Classing::simple(setup.cpu_count as usize);
    let need = LLFree::metadata_size(&classing, setup.frame_count as usize);
    let local = setup.memory.cast::<u8>();
    let trees = local.add(padded(need.local));
    let lower = trees.add(padded(need.trees));
    if !setup.is_zeroed {
        ptr::write_bytes(local, 0, need.local); // taken as it is; the rest is cleared
    }
    let meta = MetaData {
        local: slice::from_raw_parts_mut(local, need.local),
        trees: slice::from_raw_parts_mut(trees, need.trees),
        lower: slice::from_raw_parts_mut(lower, need.lower),
    };
    let new = LLFree::new(setup.frame_count as usize, Init::FreeAll, &classing, meta);
    *ptr::addr_of_mut!(LLFREE) = new.ok();
    (*ptr::addr_of!(LLFREE)).is_some()
}

unsafe extern "C" fn alloc(order: c_uint) -> u64 {
    match llfree().get(None, request(order)) {
        Ok((frame, _)) => BASE + ((frame.0 as u64) << FRAME_SHIFT),
        Err(_) => u64::MAX,
    }
}

unsafe extern "C" fn free(address: u64, order: c_uint) {
    let frame = FrameId(((address - BASE) >> FRAME_SHIFT) as usize);
    llfree()
        .put(frame, request(order))
        .expect("LLFree refuses a free")
}

#[no_mangle]
pub static LLFREE_PEER: FramesPeer = FramesPeer {
    name: c"llfree".as_ptr(),
    order_max: TREE_ORDER as c_uint,
    is_shared: true,
    is_limit: false,
    metadata_bytes,
    init,
    alloc,
    free,
    alloc_bulk: ptr::null(),
    free_bulk: ptr::null(),
};
