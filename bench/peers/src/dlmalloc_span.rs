//! dlmalloc over a span: a system that hands the span out once.

use super::{Layout, Peer};
use core::cell::Cell;
use dlmalloc::{Allocator, Dlmalloc};

pub struct Span {
    start: Cell<*mut u8>,
    size: usize,
}

// The bench is one thread.
unsafe impl Send for Span {}

unsafe impl Allocator for Span {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if size > self.size {
            return (core::ptr::null_mut(), 0, 0);
        }
        (self.start.replace(core::ptr::null_mut()), self.size, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        core::ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        false
    }

    fn page_size(&self) -> usize {
        4096
    }
}

pub type SpanDlmalloc = Dlmalloc<Span>;

const fn over(start: *mut u8, size: usize) -> SpanDlmalloc {
    let start = Cell::new(start);
    Dlmalloc::new_with_allocator(Span { start, size })
}

impl Peer for SpanDlmalloc {
    const EMPTY: Self = over(core::ptr::null_mut(), 0);

    unsafe fn set_up(&mut self, span: *mut u8, size: usize) -> bool {
        *self = over(span, size);
        true
    }

    #[inline]
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        self.malloc(layout.size(), layout.align())
    }

    #[inline]
    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        Dlmalloc::free(self, block, layout.size(), layout.align())
    }

    #[inline]
    unsafe fn realloc(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Dlmalloc::realloc(self, block, layout.size(), layout.align(), size)
    }
}
