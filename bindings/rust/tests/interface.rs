//! Heaps that are not the global one: where memory comes from, and what is refused.
use std::alloc::{GlobalAlloc, Layout};

use loam::{Arena, Block, Bump, Error, FreeList, Memory};

const LAYOUT: Layout = Layout::new::<[u64; 16]>();

/// Memory with static lifetime, for heaps that are given some.
fn leak(size: usize) -> *mut u8 {
    Box::leak(vec![0u8; size].into_boxed_slice()).as_mut_ptr()
}

fn one_block_goes_and_comes(heap: &impl GlobalAlloc) {
    // SAFETY: the layout is not empty, the heap lives in a static.
    unsafe {
        let block = heap.alloc(LAYOUT);
        assert!(!block.is_null());
        block.write_bytes(1, LAYOUT.size());
        heap.dealloc(block, LAYOUT);
    }
}

fn nothing_is_served(heap: &impl GlobalAlloc) {
    // SAFETY: the layout is not empty, the heap lives in a static.
    unsafe {
        assert!(heap.alloc(LAYOUT).is_null());
        assert!(heap.alloc_zeroed(LAYOUT).is_null());
    }
}

#[test]
fn empty_heaps_serve_nothing() {
    static BUMP: Bump = Bump::new();
    static FREE_LIST: FreeList = FreeList::new();
    static BLOCK: Block = Block::new();
    static ARENA: Arena = Arena::new();
    nothing_is_served(&BUMP);
    nothing_is_served(&FREE_LIST);
    nothing_is_served(&BLOCK);
    nothing_is_served(&ARENA);
    assert_eq!(ARENA.stats().used_count, 0);
    assert_eq!(ARENA.audit(), Ok(()));
}

#[test]
fn init_gives_memory_once() {
    static BUMP: Bump = Bump::new();
    static FREE_LIST: FreeList = FreeList::new();
    // SAFETY: nobody else has this memory.
    unsafe {
        assert_eq!(BUMP.init(std::ptr::null_mut(), 4096), Err(Error::Invalid));
        assert_eq!(BUMP.init(leak(4096), 4096), Ok(()));
        assert_eq!(BUMP.init(leak(4096), 4096), Err(Error::State));
        assert_eq!(FREE_LIST.init(leak(16), 16), Err(Error::Invalid));
        assert_eq!(FREE_LIST.init(leak(65536), 65536), Ok(()));
        assert_eq!(FREE_LIST.init(leak(65536), 65536), Err(Error::State));
    }
    one_block_goes_and_comes(&BUMP);
    one_block_goes_and_comes(&FREE_LIST);
}

#[test]
fn claim_gives_memory_again_and_again() {
    static BLOCK: Block = Block::new();
    static ARENA: Arena = Arena::new();
    let span = leak(65536);
    let large = Layout::new::<[u8; 200_000]>();
    // SAFETY: nobody else has this memory.
    unsafe {
        assert_eq!(ARENA.claim(span, 8), Err(Error::Invalid));
        nothing_is_served(&ARENA);
        assert_eq!(ARENA.claim(span, 65536), Ok(()));
        assert_eq!(ARENA.claim(span.add(4096), 4096), Err(Error::Overlap));
        assert!(ARENA.alloc(large).is_null());
        assert_eq!(ARENA.claim(leak(1 << 18), 1 << 18), Ok(()));
        assert!(!ARENA.alloc(large).is_null());
        assert_eq!(ARENA.stats().used_count, 1);
        assert_eq!(ARENA.stats().refusal_count, 1);
        assert_eq!(BLOCK.claim(leak(65536), 65536), Ok(()));
        assert!(BLOCK.alloc(large).is_null());
        assert_eq!(BLOCK.claim(leak(1 << 18), 1 << 18), Ok(()));
        assert!(!BLOCK.alloc(large).is_null());
    }
    one_block_goes_and_comes(&ARENA);
    one_block_goes_and_comes(&BLOCK);
    assert_eq!(ARENA.audit(), Ok(()));
    assert_eq!(BLOCK.audit(), Ok(()));
}

/// Memory that a heap was made with is taken at its first use, and more may follow.
#[test]
fn memory_goes_to_the_first_heap_that_is_used() {
    static MEMORY: Memory<65536> = Memory::new();
    static FIRST: Arena = Arena::over(&MEMORY);
    static SECOND: FreeList = FreeList::over(&MEMORY);
    one_block_goes_and_comes(&FIRST);
    nothing_is_served(&SECOND);
    // SAFETY: nobody else has this memory.
    unsafe {
        assert_eq!(FIRST.claim(leak(65536), 65536), Ok(()));
        assert_eq!(SECOND.init(leak(65536), 65536), Ok(()));
    }
    one_block_goes_and_comes(&SECOND);
}

#[test]
fn first_use_by_many_threads_starts_one_heap() {
    static MEMORY: Memory<{ 1 << 20 }> = Memory::new();
    static HEAP: Block = Block::over(&MEMORY);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                for _ in 0..100 {
                    one_block_goes_and_comes(&HEAP);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(HEAP.stats().alloc_count, 800);
    assert_eq!(HEAP.stats().used_count, 0);
    assert_eq!(HEAP.audit(), Ok(()));
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(Error::Overlap.to_string(), "memory is the heap's already");
    assert_ne!(Error::Invalid.to_string(), Error::State.to_string());
    assert_eq!(format!("{:?}", Error::State), "State");
}

/// A heap that finds a rule broken ends the program and names the rule: this test runs
/// itself once more for each, and reads what it says.
#[test]
fn misuse_ends_the_program() {
    static MEMORY: Memory<65536> = Memory::new();
    static WATCHED: Arena = Arena::watched(&MEMORY);
    const CASE: &str = "LOAM_TEST_MISUSE";
    const CASES: [(&str, &str); 3] = [
        ("double free", "panic: debug: block is already free"),
        ("overflow", "panic: debug: block was written past its end"),
        ("wrong size", "panic: debug: wrong size"),
    ];

    if let Ok(case) = std::env::var(CASE) {
        // SAFETY: none; that is the point. It ends before anything is used.
        unsafe {
            let block = WATCHED.alloc(LAYOUT);
            match case.as_str() {
                "double free" => WATCHED.dealloc(block, LAYOUT),
                "overflow" => block.add(LAYOUT.size()).write(0),
                _ => WATCHED.dealloc(block, Layout::new::<[u64; 15]>()),
            }
            WATCHED.dealloc(block, LAYOUT);
        }
        return;
    }
    for (case, expected) in CASES {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "misuse_ends_the_program", "--nocapture"])
            .env(CASE, case)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{case} went unnoticed");
        assert!(said.contains(expected), "{case}: {said}");
    }
}
