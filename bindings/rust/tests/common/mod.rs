//! What every allocator must do as the global one: the collections that a kernel uses,
//! and what std asks for behind them. Compared with plain definitions.

use std::alloc::{alloc, alloc_zeroed, dealloc, realloc, Layout};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::rc::Rc;
use std::sync::{mpsc, Arc, Mutex};
use std::thread;

/// xorshift: the same numbers every time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

pub fn boxes_hold_what_was_put_in() {
    let boxes: Vec<Box<[u64; 9]>> = (0..1000).map(|i| Box::new([i; 9])).collect();
    for (i, boxed) in boxes.iter().enumerate() {
        assert_eq!(**boxed, [i as u64; 9]);
    }
    let shared = Rc::new(7u32);
    let again = Rc::clone(&shared);
    drop(shared);
    assert_eq!(*again, 7);
    let dynamic: Box<dyn Fn(u64) -> u64> = Box::new(move |x| x + boxes[3][0]);
    assert_eq!(dynamic(4), 7);
}

/// realloc, from 1 element to a mebibyte, down again and up again.
pub fn vec_grows_and_shrinks() {
    let mut numbers = Vec::new();
    for i in 0..131_072u64 {
        numbers.push(i * i);
    }
    numbers.truncate(1000);
    numbers.shrink_to_fit();
    let other = vec![1u8; 100_000];
    numbers.reserve(50_000);
    for (i, &number) in numbers.iter().enumerate() {
        assert_eq!(number, (i * i) as u64);
    }
    assert!(other.iter().all(|&byte| byte == 1));
    let queue: VecDeque<_> = numbers.into_iter().rev().collect();
    assert_eq!(queue.front(), Some(&(999 * 999)));
}

pub fn strings_are_put_together() {
    let mut text = String::new();
    for i in 0..5000 {
        write!(text, "{i},").unwrap();
    }
    let sum: u64 = text
        .split_terminator(',')
        .map(|part| part.parse::<u64>().unwrap())
        .sum();
    assert_eq!(sum, 4999 * 5000 / 2);
    assert_eq!(text.replace(',', "").len() + 5000, text.len());
}

pub fn btree_map_keeps_order() {
    let mut random = Random(1);
    let mut map = BTreeMap::new();
    let mut plain = vec![None; 4096];
    for _ in 0..20_000 {
        let key = random.below(4096);
        if random.below(3) == 0 {
            assert_eq!(map.remove(&key), plain[key as usize].take());
        } else {
            let value = format!("value {}", random.below(1 << 40));
            plain[key as usize] = Some(value.clone());
            map.insert(key, value);
        }
    }
    let expected: Vec<_> = plain
        .iter()
        .enumerate()
        .filter_map(|(i, v)| v.as_ref().map(|v| (i as u64, v)))
        .collect();
    assert_eq!(
        map.iter().map(|(&k, v)| (k, v)).collect::<Vec<_>>(),
        expected
    );
}

#[repr(align(4096))]
struct Page([u8; 4096]);

#[repr(align(64))]
struct Line(u8);

pub fn over_aligned_types_are_aligned() {
    let mut lines: Vec<Line> = Vec::new();
    for i in 0..200u8 {
        lines.push(Line(i));
        assert_eq!(lines.as_ptr() as usize % 64, 0);
        let page = Box::new(Page([i; 4096]));
        assert_eq!(&*page as *const Page as usize % 4096, 0);
        assert!(page.0.iter().all(|&byte| byte == i));
    }
    assert!(lines.iter().enumerate().all(|(i, line)| line.0 == i as u8));
}

/// Types and collections without size ask for no memory.
pub fn zero_size_is_nothing() {
    let mut units = Vec::new();
    units.resize(1000, ());
    assert_eq!(units.len(), 1000);
    let unit = Box::new(());
    assert_eq!(*unit, ());
    assert_eq!(Vec::<u64>::with_capacity(0).capacity(), 0);
    assert!(String::new().is_empty());
}

/// The calls themselves: every power of two, zeroed, grown and shrunk.
pub fn layouts_are_obeyed() {
    for shift in 0..=16 {
        for size in [1usize, 7, 8, 100, 2048, 2049, 10_000] {
            let layout = Layout::from_size_align(size, 1 << shift).unwrap();
            // SAFETY: sizes are not 0; only what was given is touched.
            unsafe {
                let dirty = alloc(layout);
                assert!(!dirty.is_null());
                dirty.write_bytes(0xff, size);
                dealloc(dirty, layout);
                let zeroed = alloc_zeroed(layout);
                assert_eq!(zeroed as usize % layout.align(), 0);
                assert!((0..size).all(|i| *zeroed.add(i) == 0));
                zeroed.write_bytes(0x42, size);
                let grown = realloc(zeroed, layout, size * 3);
                assert_eq!(grown as usize % layout.align(), 0);
                assert!((0..size).all(|i| *grown.add(i) == 0x42));
                let large = Layout::from_size_align(size * 3, layout.align()).unwrap();
                let cut = realloc(grown, large, 1);
                assert_eq!(*cut, 0x42);
                dealloc(cut, Layout::from_size_align(1, layout.align()).unwrap());
            }
        }
    }
}

/// More than there is: NULL, and everything goes on.
pub fn too_much_is_refused() {
    let layout = Layout::from_size_align(1 << 40, 8).unwrap();
    // SAFETY: the size is not 0.
    assert!(unsafe { alloc(layout) }.is_null());
    assert!(unsafe { alloc_zeroed(layout) }.is_null());
    let mut numbers = vec![1u64, 2, 3];
    assert!(numbers.try_reserve(1 << 40).is_err());
    assert_eq!(numbers, [1, 2, 3]);
}

/// Blocks made by one thread are grown and freed by others.
pub fn threads_pass_blocks_on() {
    let total = Arc::new(Mutex::new(0u64));
    let (first, mut inbox) = mpsc::channel::<Vec<u64>>();
    let mut threads = Vec::new();
    for _ in 0..4 {
        let (outbox, next) = mpsc::channel();
        let total = Arc::clone(&total);
        let input = std::mem::replace(&mut inbox, next);
        threads.push(thread::spawn(move || {
            for mut numbers in input {
                numbers.push(numbers.iter().sum());
                *total.lock().unwrap() += numbers.len() as u64;
                let _ = outbox.send(numbers.clone());
            }
        }));
    }
    for i in 0..500u64 {
        first.send(vec![i; (i % 50) as usize + 1]).unwrap();
    }
    drop(first);
    for (i, numbers) in inbox.iter().enumerate() {
        let (i, count) = (i as u64, i as u64 % 50 + 1);
        assert_eq!(numbers.len() as u64, count + 4);
        assert_eq!(
            numbers[count as usize..],
            [1, 2, 4, 8].map(|k| i * count * k)
        );
    }
    for thread in threads {
        thread.join().unwrap();
    }
    let lengths: u64 = (0..500).map(|i| 4 * (i % 50 + 1) + 10).sum();
    assert_eq!(*total.lock().unwrap(), lengths);
}

/// Random sizes and lives; every byte is what was written last.
pub fn random_lives_do_not_touch() {
    let mut random = Random(2);
    let mut live: Vec<Vec<u8>> = Vec::new();
    for i in 0..20_000u32 {
        if random.below(2) == 0 && !live.is_empty() {
            let place = random.below(live.len() as u64) as usize;
            let dead = live.swap_remove(place);
            assert!(dead.iter().all(|&byte| byte == dead[0]));
        } else if live.len() < 400 {
            let size = random.below(if i % 64 == 0 { 40_000 } else { 500 }) as usize + 1;
            live.push(vec![i as u8; size]);
        }
    }
}

/// A #[test] for each of them, and one for the heap behind them.
#[macro_export]
macro_rules! as_global_allocator {
    ($heap:ident) => {
        as_global_allocator!(@each
            boxes_hold_what_was_put_in vec_grows_and_shrinks strings_are_put_together
            btree_map_keeps_order over_aligned_types_are_aligned zero_size_is_nothing
            layouts_are_obeyed too_much_is_refused threads_pass_blocks_on
            random_lives_do_not_touch);

        #[test]
        fn heap_is_the_one_in_use_and_sound() {
            let before = $heap.stats();
            let block = vec![1u8; 5000];
            let after = $heap.stats();
            assert!(after.alloc_count > before.alloc_count);
            assert!(after.peak_bytes >= after.used_bytes && after.used_bytes >= 5000);
            drop(block);
            assert!($heap.stats().free_count > before.free_count);
            assert_eq!($heap.audit(), Ok(()));
        }
    };
    (@each $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                common::$name();
            }
        )*
    };
}
