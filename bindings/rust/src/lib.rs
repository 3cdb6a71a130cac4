//! Loam's heaps for Rust kernels: `#[global_allocator]` over each of its four
//! allocators, behind Loam's spin lock, with interrupts off while it is held.
//!
//! | type         | what it is                                             | memory         |
//! |--------------|--------------------------------------------------------|----------------|
//! | [`Bump`]     | a pointer that moves up; all freed at once             | one span       |
//! | [`FreeList`] | linked list without headers: densest                   | one span       |
//! | [`Block`]    | size classes of up to 2048 bytes, over an arena        | any number     |
//! | [`Arena`]    | binned boundary tags: fast and dense for any mix       | any number     |
//!
//! Each is made in a constant expression, in one of two ways: over [`Memory`] of its
//! own, which it takes when it is first used,
//!
//! ```
//! use loam::{Arena, Memory};
//!
//! static MEMORY: Memory<{ 4 << 20 }> = Memory::new();
//!
//! # #[cfg(any())]
//! #[global_allocator]
//! static HEAP: Arena = Arena::over(&MEMORY);
//! ```
//!
//! or empty, to be given memory once the kernel knows where there is some:
//!
//! ```no_run
//! use loam::Arena;
//!
//! # #[cfg(any())]
//! #[global_allocator]
//! static HEAP: Arena = Arena::new();
//! # static HEAP: Arena = Arena::new();
//!
//! # fn find_memory() -> (*mut u8, usize) { unimplemented!() }
//! let (start, size) = find_memory();
//! // SAFETY: nobody else uses this memory.
//! unsafe { HEAP.claim(start, size) }.expect("memory for the heap");
//! ```
//!
//! Until then every request fails. The first use of a heap must not be interrupted by
//! another one on the same CPU: let it come before interrupts are on.
//!
//! # What the kernel provides
//!
//! Three functions (`include/loam/port.h` says when each is called); the feature
//! `host-hooks` has them for hosted tests. A kernel that only uses the heaps needs no
//! more than this:
//!
//! ```
//! # #[cfg(not(feature = "host-hooks"))] mod hooks { // which has them
//! # fn my_cpu_index() -> u32 { 0 }
//! # fn my_halt(_: &loam::Panic) -> ! { loop {} }
//! #[no_mangle]
//! extern "C" fn loam_port_cpu() -> u32 {
//!     my_cpu_index() // 0..63, distinct per CPU; called with interrupts off
//! }
//!
//! #[no_mangle]
//! extern "C" fn loam_port_tlb_flush(_flush: *const u8) {
//!     unreachable!() // only Loam's page tables call it
//! }
//!
//! #[no_mangle]
//! unsafe extern "C" fn loam_port_panic(panic: *const loam::Panic) -> ! {
//!     my_halt(&*panic) // a rule was broken; must not allocate
//! }
//! # }
//! ```
//!
//! # Checks
//!
//! Rust says the size of every block it frees, so [`FreeList`] and [`Block`] need no
//! headers, and a wrong size or a double free from unsafe code panics as the C headers
//! say. `watched()` heaps have red zones around every block, poison and a quarantine
//! as well (`include/loam/debug.h`).
#![cfg_attr(not(feature = "host-hooks"), no_std)]
#![warn(missing_docs)]

#[cfg(not(target_arch = "x86_64"))]
compile_error!("Loam is for x86-64");

use core::alloc::{GlobalAlloc, Layout};

mod heap;
#[cfg(feature = "host-hooks")]
mod hooks;
#[allow(dead_code)] // the rest is for build.rs
mod layout;
mod memory;
mod sys;

use heap::{Heap, BLOCK_AND_ARENA_WORDS};
use layout::{ARENA_WORDS, BUMP_WORDS, FREELIST_WORDS};
pub use memory::Memory;

/// Why memory was refused. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// NULL, too small, or it wraps.
    Invalid,
    /// Part of it is the heap's already.
    Overlap,
    /// The heap has its memory already.
    State,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Error::Invalid => "memory is NULL, too small, or wraps",
            Error::Overlap => "memory is the heap's already",
            Error::State => "the heap has its memory already",
        })
    }
}

/// Statistics of a heap, from one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of blocks in use, overhead included.
    pub used_bytes: usize,
    /// Highest `used_bytes` so far.
    pub peak_bytes: usize,
    /// Blocks in use.
    pub used_count: usize,
    /// Blocks given out so far.
    pub alloc_count: u64,
    /// Blocks taken back so far.
    pub free_count: u64,
    /// Blocks whose size was changed so far.
    pub realloc_count: u64,
    /// Requests that failed so far.
    pub refusal_count: u64,
}

/// A broken rule, as `loam_port_panic` receives it.
#[repr(C)]
#[derive(Debug)]
pub struct Panic {
    /// Static sentence, ending in a zero byte: "layer: the rule".
    pub rule: *const u8,
    /// Static name of the C file where the check is, ending in a zero byte.
    pub file: *const u8,
    /// Line of the check.
    pub line: i32,
    /// The address or value the rule is about; 0: none.
    pub subject: u64,
    /// Its size, order or expected value; 0: none.
    pub detail: u64,
}

macro_rules! heap {
    ($(#[$doc:meta])* $name:ident, $kind:expr, $words:expr) => {
        $(#[$doc])*
        pub struct $name(Heap<{ $kind }, { $words }>);

        impl $name {
            /// A heap without memory: every request fails until it is given some.
            #[must_use]
            pub const fn new() -> Self {
                $name(Heap::new(None, false))
            }

            /// A heap that takes `memory` when it is first used. If another heap has
            /// taken that, every request fails.
            ///
            /// It must not move once it was used: let it be the value of a static.
            #[must_use]
            pub const fn over<const N: usize>(memory: &'static Memory<N>) -> Self {
                $name(Heap::new(Some(memory.source()), false))
            }

            /// As `over`, and every block is watched: red zones, poison, quarantine.
            #[must_use]
            pub const fn watched<const N: usize>(memory: &'static Memory<N>) -> Self {
                $name(Heap::new(Some(memory.source()), true))
            }

            /// Statistics. As slow as the heap's in C.
            pub fn stats(&self) -> Stats {
                self.0.stats()
            }

            /// Look at everything.
            ///
            /// # Errors
            /// The broken rule, if the heap is not sound.
            pub fn audit(&self) -> Result<(), &'static str> {
                self.0.audit()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        // SAFETY: blocks are apart, aligned and as large as asked for; nothing unwinds.
        unsafe impl GlobalAlloc for $name {
            #[inline]
            unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
                self.0.alloc(layout)
            }

            #[inline]
            unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
                self.0.alloc_zeroed(layout)
            }

            #[inline]
            unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
                self.0.dealloc(block, layout)
            }

            #[inline]
            unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
                self.0.realloc(block, layout, size)
            }
        }
    };
}

macro_rules! init {
    ($name:ident) => {
        impl $name {
            /// Give the heap its memory: any alignment, used from now on.
            ///
            /// # Errors
            /// [`Error::Invalid`], or [`Error::State`] if it has memory already.
            ///
            /// # Safety
            /// `start..start + size` can be read and written, and nobody else uses it
            /// as long as the program runs.
            pub unsafe fn init(&'static self, start: *mut u8, size: usize) -> Result<(), Error> {
                self.0.init(start, size)
            }
        }
    };
}

macro_rules! claim {
    ($name:ident) => {
        impl $name {
            /// Let the heap use a span of memory, of any alignment; again and again.
            ///
            /// # Errors
            /// [`Error::Invalid`], or [`Error::Overlap`] if part of it is claimed.
            ///
            /// # Safety
            /// `start..start + size` can be read and written, and nobody else uses it
            /// as long as the program runs.
            pub unsafe fn claim(&'static self, start: *mut u8, size: usize) -> Result<(), Error> {
                self.0.claim(start, size)
            }
        }
    };
}

heap!(
    /// A pointer that only moves up (`include/loam/bump.h`). Memory is reused when the
    /// last block is freed, or all are.
    Bump,
    sys::ALLOCATOR_BUMP,
    BUMP_WORDS
);
init!(Bump);

heap!(
    /// A linked-list heap without headers (`include/loam/freelist.h`).
    FreeList,
    sys::ALLOCATOR_FREELIST_SIZED,
    FREELIST_WORDS
);
init!(FreeList);

heap!(
    /// Size classes of up to 2048 bytes over an arena (`include/loam/block.h`).
    Block,
    sys::ALLOCATOR_BLOCK,
    BLOCK_AND_ARENA_WORDS
);
claim!(Block);

heap!(
    /// A binned heap over any number of spans (`include/loam/arena.h`).
    Arena,
    sys::ALLOCATOR_ARENA,
    ARENA_WORDS
);
claim!(Arena);
