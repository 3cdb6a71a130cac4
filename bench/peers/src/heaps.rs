//! The peers that need no more than a few lines each.

use super::Peer;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

fn pointer(block: Option<NonNull<u8>>) -> *mut u8 {
    block.map_or(ptr::null_mut(), |block| block.as_ptr())
}

pub type Talc5 = talc5::TalcCell<talc5::source::Manual>;

impl Peer for Talc5 {
    const EMPTY: Self = Talc5::new(talc5::source::Manual);

    unsafe fn set_up(&mut self, span: *mut u8, size: usize) -> bool {
        *self = Self::EMPTY;
        self.claim(span, size).is_some()
    }

    #[inline]
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        GlobalAlloc::alloc(self, layout)
    }

    #[inline]
    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        self.dealloc(block, layout)
    }

    #[inline]
    unsafe fn realloc(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        GlobalAlloc::realloc(self, block, layout, size)
    }
}

pub type Talc4 = talc4::Talck<talc4::locking::AssumeUnlockable, talc4::ErrOnOom>;

impl Peer for Talc4 {
    const EMPTY: Self = talc4::Talc::new(talc4::ErrOnOom).lock();

    unsafe fn set_up(&mut self, span: *mut u8, size: usize) -> bool {
        *self = Self::EMPTY;
        let span = talc4::Span::new(span, span.wrapping_add(size));
        self.lock().claim(span).is_ok()
    }

    #[inline]
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        GlobalAlloc::alloc(self, layout)
    }

    #[inline]
    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        self.dealloc(block, layout)
    }

    #[inline]
    unsafe fn realloc(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        GlobalAlloc::realloc(self, block, layout, size)
    }
}

pub type LinkedList = linked_list_allocator::Heap;

impl Peer for LinkedList {
    const EMPTY: Self = linked_list_allocator::Heap::empty();

    unsafe fn set_up(&mut self, span: *mut u8, size: usize) -> bool {
        *self = Self::EMPTY;
        self.init(span, size);
        true
    }

    #[inline]
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        pointer(self.allocate_first_fit(layout).ok())
    }

    #[inline]
    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        self.deallocate(NonNull::new_unchecked(block), layout)
    }
}

pub type Buddy = buddy_system_allocator::Heap<33>;

impl Peer for Buddy {
    const EMPTY: Self = Buddy::new();

    unsafe fn set_up(&mut self, span: *mut u8, size: usize) -> bool {
        *self = Self::EMPTY;
        self.init(span as usize, size);
        true
    }

    #[inline]
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        pointer(Buddy::alloc(self, layout).ok())
    }

    #[inline]
    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        self.dealloc(NonNull::new_unchecked(block), layout)
    }
}

/// With the bins that rlsf's own global allocator has.
pub type Rlsf =
    rlsf::Tlsf<'static, usize, usize, { usize::BITS as usize }, { usize::BITS as usize }>;

impl Peer for Rlsf {
    const EMPTY: Self = Rlsf::new();

    unsafe fn set_up(&mut self, span: *mut u8, size: usize) -> bool {
        *self = Self::EMPTY;
        let span = ptr::slice_from_raw_parts_mut(span, size);
        self.insert_free_block_ptr(NonNull::new_unchecked(span))
            .is_some()
    }

    #[inline]
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        pointer(self.allocate(layout))
    }

    #[inline]
    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        self.deallocate(NonNull::new_unchecked(block), layout.align())
    }

    #[inline]
    unsafe fn realloc(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let layout = Layout::from_size_align_unchecked(size, layout.align());
        pointer(self.reallocate(NonNull::new_unchecked(block), layout))
    }
}

/// Galloc is published under this name.
pub type Galloc = good_memory_allocator::Allocator;

impl Peer for Galloc {
    const EMPTY: Self = Galloc::empty();

    unsafe fn set_up(&mut self, span: *mut u8, size: usize) -> bool {
        *self = Self::EMPTY;
        self.init(span as usize, size);
        true
    }

    #[inline]
    unsafe fn alloc(&mut self, layout: Layout) -> *mut u8 {
        Galloc::alloc(self, layout)
    }

    #[inline]
    unsafe fn free(&mut self, block: *mut u8, _: Layout) {
        self.dealloc(block)
    }

    #[inline]
    unsafe fn realloc(&mut self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Galloc::realloc(self, block, layout, size)
    }
}
