//! The heaps that Loam's are measured against, each behind the four C functions
//! of `struct bench_heap` in `bench/arena/heap.h`. None is locked.
//!
//! Each is set up as its own documentation or its own global allocator does; what
//! a user of that allocator gets when he calls `realloc`, `realloc` does here.

use core::alloc::Layout;
use core::cmp::min;
use core::ffi::{c_char, c_void};
use core::ptr;

mod dlmalloc_span;
mod heaps;

/// What the C side calls. Same layout as `struct bench_heap`.
#[repr(C)]
pub struct BenchHeap {
    name: *const c_char,
    init: unsafe extern "C" fn(*mut c_void, usize) -> bool,
    alloc: unsafe extern "C" fn(usize, usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void, usize, usize),
    realloc: unsafe extern "C" fn(*mut c_void, usize, usize, usize) -> *mut c_void,
}

// The name points to a literal.
unsafe impl Sync for BenchHeap {}

/// One peer over one span.
trait Peer: Sized {
    /// Without a span.
    const EMPTY: Self;

    unsafe fn set_up(&mut self, span: *mut u8, size: usize) -> bool;
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8;
    unsafe fn free(&mut self, block: *mut u8, layout: Layout);

    /// As the default of `GlobalAlloc`: allocate, copy, free.
    unsafe fn realloc(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
        if !new.is_null() {
            ptr::copy_nonoverlapping(block, new, min(layout.size(), size));
            self.free(block, layout);
        }
        new
    }
}

// ---- the C side ----------------------------------------------------------------

/// The functions of one peer, and the table of all.
macro_rules! peers {
    ($($module:ident: $kind:ty;)*) => {
        $(mod $module {
            use super::*;

            static mut HEAP: $kind = <$kind as Peer>::EMPTY;

            /// The bench is one thread and holds no reference across calls.
            #[inline(always)]
            unsafe fn heap() -> &'static mut $kind {
                &mut *ptr::addr_of_mut!(HEAP)
            }

            pub unsafe extern "C" fn init(span: *mut c_void, size: usize) -> bool {
                Peer::set_up(heap(), span.cast(), size)
            }

            pub unsafe extern "C" fn alloc(size: usize, align: usize) -> *mut c_void {
                let layout = Layout::from_size_align_unchecked(size, align);
                Peer::alloc(heap(), layout).cast()
            }

            pub unsafe extern "C" fn free(block: *mut c_void, size: usize, align: usize) {
                let layout = Layout::from_size_align_unchecked(size, align);
                Peer::free(heap(), block.cast(), layout)
            }

            pub unsafe extern "C" fn realloc(
                block: *mut c_void,
                old: usize,
                size: usize,
                align: usize,
            ) -> *mut c_void {
                let layout = Layout::from_size_align_unchecked(old, align);
                Peer::realloc(heap(), block.cast(), layout, size).cast()
            }
        })*

        /// All peers; ends with one without a name.
        #[no_mangle]
        pub static BENCH_PEERS: [BenchHeap; count!($($module)*) + 1] = [
            $(BenchHeap {
                name: concat!(stringify!($module), "\0").as_ptr().cast(),
                init: $module::init,
                alloc: $module::alloc,
                free: $module::free,
                realloc: $module::realloc,
            },)*
            BenchHeap {
                name: ptr::null(),
                init: talc5::init,
                alloc: talc5::alloc,
                free: talc5::free,
                realloc: talc5::realloc,
            },
        ];
    };
}

macro_rules! count {
    () => { 0 };
    ($first:ident $($rest:ident)*) => { 1 + count!($($rest)*) };
}

// The first is the one to beat.
peers! {
    talc5: heaps::Talc5;
    talc4: heaps::Talc4;
    rlsf: heaps::Rlsf;
    dlmalloc: dlmalloc_span::SpanDlmalloc;
    galloc: heaps::Galloc;
    buddy: heaps::Buddy;
    lla: heaps::LinkedList;
}
