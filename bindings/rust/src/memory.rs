//! Memory that a heap may have: once, and for good.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

/// `N` bytes for one heap, in a static of their own.
///
/// The first heap that is used over it takes it; any other stays without memory.
#[repr(C, align(4096))]
pub struct Memory<const N: usize> {
    bytes: UnsafeCell<MaybeUninit<[u8; N]>>,
    is_taken: AtomicBool,
}

// SAFETY: the bytes are touched only by the heap that turned is_taken to true.
unsafe impl<const N: usize> Sync for Memory<N> {}

impl<const N: usize> Memory<N> {
    /// Memory that nobody has taken. It takes no room in the kernel's image.
    #[must_use]
    pub const fn new() -> Self {
        Memory {
            bytes: UnsafeCell::new(MaybeUninit::uninit()),
            is_taken: AtomicBool::new(false),
        }
    }

    pub(crate) const fn source(&'static self) -> Source {
        Source {
            start: self.bytes.get().cast(),
            size: N,
            is_taken: &self.is_taken,
        }
    }
}

impl<const N: usize> Default for Memory<N> {
    fn default() -> Self {
        Self::new()
    }
}

pub struct Source {
    start: *mut u8,
    size: usize,
    is_taken: &'static AtomicBool,
}

impl Source {
    /// The memory, for whoever asks first.
    pub fn take(&self) -> Option<(*mut u8, usize)> {
        let is_taken = self.is_taken.swap(true, Ordering::AcqRel);
        (!is_taken).then_some((self.start, self.size))
    }
}
