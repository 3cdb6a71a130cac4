//! One heap of any kind behind a Loam lock, in storage of its own.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicU8, Ordering};

use crate::layout::{ARENA_WORDS, BLOCK_WORDS, LOCKED_WORDS};
use crate::memory::Source;
use crate::sys::{self, Words};
use crate::{Error, Stats};

/// Bytes from the start of a block heap's storage to the arena under it.
const ARENA_AT: usize = 8 * BLOCK_WORDS;
const _: () = assert!(ARENA_AT % 16 == 0);
pub const BLOCK_AND_ARENA_WORDS: usize = BLOCK_WORDS + ARENA_WORDS;

const EMPTY: u8 = 0; // nothing is set up
const BUSY: u8 = 1; // somebody sets it up
const READY: u8 = 2;

/// KIND: `sys::ALLOCATOR_...`; WORDS: storage for its C structs.
pub struct Heap<const KIND: u32, const WORDS: usize> {
    state: AtomicU8,
    watched: bool,
    source: Option<Source>,
    locked: UnsafeCell<Words<LOCKED_WORDS>>,
    heap: UnsafeCell<Words<WORDS>>,
}

// SAFETY: locked and heap are touched only by whoever turned the state from EMPTY to
// BUSY, and once it is READY only through functions that take the lock in locked.
unsafe impl<const KIND: u32, const WORDS: usize> Sync for Heap<KIND, WORDS> {}
// SAFETY: no part of it belongs to a thread.
unsafe impl<const KIND: u32, const WORDS: usize> Send for Heap<KIND, WORDS> {}

impl<const KIND: u32, const WORDS: usize> Heap<KIND, WORDS> {
    pub const fn new(source: Option<Source>, watched: bool) -> Self {
        Heap {
            state: AtomicU8::new(EMPTY),
            watched,
            source,
            locked: UnsafeCell::new(Words([0; LOCKED_WORDS])),
            heap: UnsafeCell::new(Words([0; WORDS])),
        }
    }

    fn locked(&self) -> *mut u8 {
        self.locked.get().cast()
    }

    fn heap(&self) -> *mut u8 {
        self.heap.get().cast()
    }

    fn arena(&self) -> *mut u8 {
        if KIND == sys::ALLOCATOR_BLOCK {
            // SAFETY: BLOCK_AND_ARENA_WORDS of storage.
            unsafe { self.heap().add(ARENA_AT) }
        } else {
            self.heap()
        }
    }

    /// Set the heap itself up over its first span.
    ///
    /// # Safety
    /// The span is the heap's from now on; nobody else uses the storage now.
    unsafe fn start_heap(&self, span: *mut u8, size: usize) -> u32 {
        match KIND {
            sys::ALLOCATOR_BUMP => sys::loam_bump_init(self.heap(), span, size),
            sys::ALLOCATOR_FREELIST_SIZED => sys::loam_freelist_init(self.heap(), span, size),
            _ => {
                sys::loam_arena_init(self.arena());
                let fallback = sys::BlockFallback {
                    freelist: ptr::null_mut(),
                    arena: self.arena(),
                };
                match sys::loam_arena_claim(self.arena(), span, size) {
                    sys::OK if KIND == sys::ALLOCATOR_BLOCK => {
                        sys::loam_block_init(self.heap(), &fallback)
                    }
                    status => status,
                }
            }
        }
    }

    /// As `start_heap`, and the lock around it.
    unsafe fn start_locked(&self, span: *mut u8, size: usize) -> Result<(), Error> {
        check(self.start_heap(span, size))?;
        let options = sys::LockedOptions {
            allocator: sys::Allocator {
                kind: KIND,
                heap: self.heap(),
            },
            caller_lock: ptr::null_mut(),
            lock: sys::LOCKED_SPIN,
            // A hosted program has no interrupts to turn off.
            leave_interrupts: cfg!(not(target_os = "none")),
            debug: self.watched,
        };
        check(sys::loam_locked_init(self.locked(), &options))
    }

    /// Turn EMPTY into READY over the span that `span` gives, if it gives one. What the
    /// state was, if it was not EMPTY.
    ///
    /// # Safety
    /// As `start_heap`; self never moves again.
    unsafe fn start(
        &self,
        span: impl FnOnce() -> Option<(*mut u8, usize)>,
    ) -> Result<Result<(), Error>, u8> {
        self.state
            .compare_exchange(EMPTY, BUSY, Ordering::Acquire, Ordering::Acquire)?;
        let result = match span() {
            Some((start, size)) => self.start_locked(start, size),
            None => Err(Error::Invalid),
        };
        let state = if result.is_ok() { READY } else { EMPTY };
        self.state.store(state, Ordering::Release);
        Ok(result)
    }

    fn is_started(&self) -> bool {
        self.state.load(Ordering::Acquire) == READY
    }

    /// Is there a heap? If not, start it over the memory it was made with.
    #[inline]
    fn is_ready(&self) -> bool {
        self.is_started() || self.start_over_source()
    }

    #[cold]
    fn start_over_source(&self) -> bool {
        loop {
            // SAFETY: the memory is given to whoever asks first. Only alloc comes here.
            match unsafe { self.start(|| self.source.as_ref().and_then(Source::take)) } {
                Ok(result) => return result.is_ok(),
                Err(READY) => return true,
                Err(_) => core::hint::spin_loop(), // another CPU is at it
            }
        }
    }

    /// # Safety
    /// As `start`.
    pub unsafe fn init(&self, span: *mut u8, size: usize) -> Result<(), Error> {
        self.start(|| Some((span, size)))
            .unwrap_or(Err(Error::State))
    }

    /// # Safety
    /// As `start`.
    pub unsafe fn claim(&self, span: *mut u8, size: usize) -> Result<(), Error> {
        while !self.is_ready() {
            if let Ok(result) = self.start(|| Some((span, size))) {
                return result;
            }
            core::hint::spin_loop();
        }
        let state = sys::loam_locked_acquire(self.locked());
        let status = sys::loam_arena_claim(self.arena(), span, size);
        sys::loam_locked_release(self.locked(), state);
        check(status)
    }

    /// # Safety
    /// Self never moves again.
    #[inline]
    pub unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !self.is_ready() {
            return ptr::null_mut();
        }
        sys::loam_locked_alloc(self.locked(), layout.size(), layout.align())
    }

    /// # Safety
    /// As `alloc`.
    #[inline]
    pub unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !self.is_ready() {
            return ptr::null_mut();
        }
        sys::loam_locked_calloc(self.locked(), 1, layout.size(), layout.align())
    }

    /// # Safety
    /// The block is one of this heap's, with that layout.
    #[inline]
    pub unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        sys::loam_locked_free_sized(self.locked(), block, layout.size());
    }

    /// # Safety
    /// As `dealloc`.
    #[inline]
    pub unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let resize = sys::Resize {
            old_bytes: layout.size(),
            size_bytes: size,
            align: layout.align(),
        };
        sys::loam_locked_realloc(self.locked(), block, &resize)
    }

    pub fn stats(&self) -> Stats {
        let mut stats = sys::LockedStats::default();
        if self.is_started() {
            // SAFETY: started.
            unsafe { sys::loam_locked_measure(self.locked(), &mut stats) };
        }
        Stats {
            used_bytes: stats.used_bytes,
            peak_bytes: stats.peak_bytes,
            used_count: stats.used_count,
            alloc_count: stats.alloc_count,
            free_count: stats.free_count,
            realloc_count: stats.realloc_count,
            refusal_count: stats.refusal_count,
        }
    }

    pub fn audit(&self) -> Result<(), &'static str> {
        if !self.is_started() {
            return Ok(());
        }
        // SAFETY: started; a rule is a static sentence in ASCII, with a zero behind it.
        unsafe {
            let rule = sys::loam_locked_audit(self.locked());
            if rule.is_null() {
                return Ok(());
            }
            // Volatile, or the compiler makes it a call of strlen, which kernels lack.
            let length = (0..)
                .take_while(|&i| rule.add(i).read_volatile() != 0)
                .count();
            let bytes = core::slice::from_raw_parts(rule, length);
            Err(core::str::from_utf8_unchecked(bytes))
        }
    }
}

fn check(status: u32) -> Result<(), Error> {
    match status {
        sys::OK => Ok(()),
        sys::OVERLAP => Err(Error::Overlap),
        _ => Err(Error::Invalid),
    }
}
