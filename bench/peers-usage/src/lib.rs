//! The interval maps that Loam's is measured against, each behind the C functions
//! of `struct bench_map` in `bench/usage/map.h`.
//!
//! Keys are inclusive intervals of `u64`, values one byte. None is locked; none is
//! told anything that Loam's is not.

use core::ffi::c_char;

/// What the C side calls. Same layout as `struct bench_map`.
#[repr(C)]
pub struct BenchMap {
    name: *const c_char,
    init: Option<extern "C" fn(usize)>,
    insert: Option<extern "C" fn(u64, u64, u8) -> bool>,
    insert_merge: Option<extern "C" fn(u64, u64, u8) -> bool>,
    lookup: Option<extern "C" fn(u64) -> u8>,
    memory: Option<extern "C" fn() -> usize>,
}

// The name points to a literal.
unsafe impl Sync for BenchMap {}

const NOBODY: u8 = 255;

/// It has what `malloc` gave.
extern "C" fn memory() -> usize {
    0
}

mod nodit_map {
    use super::NOBODY;
    use nodit::interval::ii;
    use nodit::{Interval, NoditMap};

    static mut MAP: Option<NoditMap<u64, Interval<u64>, u8>> = None;

    /// The bench is one thread and holds no reference across calls.
    #[inline(always)]
    fn map() -> &'static mut NoditMap<u64, Interval<u64>, u8> {
        unsafe { (*(&raw mut MAP)).as_mut().unwrap_unchecked() }
    }

    pub extern "C" fn init(_: usize) {
        unsafe { *(&raw mut MAP) = Some(NoditMap::new()) }
    }

    pub extern "C" fn insert(first: u64, last: u64, value: u8) -> bool {
        map().insert_strict(ii(first, last), value).is_ok()
    }

    pub extern "C" fn insert_merge(first: u64, last: u64, value: u8) -> bool {
        map().insert_merge_touching_if_values_equal(ii(first, last), value).is_ok()
    }

    pub extern "C" fn lookup(at: u64) -> u8 {
        map().get_at_point(at).copied().unwrap_or(NOBODY)
    }
}

/// It has one insert, which takes what is there away and merges with equal touchers.
mod rangemap_map {
    use super::NOBODY;
    use rangemap::RangeInclusiveMap;

    static mut MAP: Option<RangeInclusiveMap<u64, u8>> = None;

    /// The bench is one thread and holds no reference across calls.
    #[inline(always)]
    fn map() -> &'static mut RangeInclusiveMap<u64, u8> {
        unsafe { (*(&raw mut MAP)).as_mut().unwrap_unchecked() }
    }

    pub extern "C" fn init(_: usize) {
        unsafe { *(&raw mut MAP) = Some(RangeInclusiveMap::new()) }
    }

    pub extern "C" fn insert(first: u64, last: u64, value: u8) -> bool {
        map().insert(first..=last, value);
        true
    }

    pub extern "C" fn lookup(at: u64) -> u8 {
        map().get(&at).copied().unwrap_or(NOBODY)
    }
}

#[no_mangle]
pub static BENCH_USAGE_PEERS: [BenchMap; 3] = [
    BenchMap {
        name: c"nodit".as_ptr(),
        init: Some(nodit_map::init),
        insert: Some(nodit_map::insert),
        insert_merge: Some(nodit_map::insert_merge),
        lookup: Some(nodit_map::lookup),
        memory: Some(memory),
    },
    BenchMap {
        name: c"rangemap".as_ptr(),
        init: Some(rangemap_map::init),
        insert: Some(rangemap_map::insert),
        insert_merge: Some(rangemap_map::insert),
        lookup: Some(rangemap_map::lookup),
        memory: Some(memory),
    },
    BenchMap {
        name: core::ptr::null(),
        init: None,
        insert: None,
        insert_merge: None,
        lookup: None,
        memory: None,
    },
];
