//! What a kernel does with the crate, as a program without std or libc that any Linux
//! can run: hooks, memory functions and an entry point of its own, and an [`Arena`]
//! that is given memory at run time. Ends with status 0 if all went well.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::fmt::Write;

use loam::Arena;

#[global_allocator]
static HEAP: Arena = Arena::new();

/// What the bootloader would have left free.
#[repr(align(4096))]
struct Ram(UnsafeCell<[u8; 1 << 20]>);
// SAFETY: given away once, in _start.
unsafe impl Sync for Ram {}
static RAM: Ram = Ram(UnsafeCell::new([0; 1 << 20]));

fn exit(status: u64) -> ! {
    // SAFETY: exit_group(2) does not return.
    unsafe { asm!("syscall", in("rax") 231, in("rdi") status, options(noreturn)) }
}

// ---- what Loam needs -------------------------------------------------------------

#[no_mangle]
extern "C" fn loam_port_cpu() -> u32 {
    0
}

#[no_mangle]
extern "C" fn loam_port_tlb_flush(_flush: *const u8) {
    exit(2)
}

#[no_mangle]
extern "C" fn loam_port_panic(_panic: *const loam::Panic) -> ! {
    exit(3)
}

// ---- what Rust and C compilers need ------------------------------------------------

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    exit(4)
}

/// Byte by byte, so that they do not become calls of themselves.
macro_rules! memory_functions {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty $body:block)*) => {
        $(
            #[no_mangle]
            unsafe extern "C" fn $name($($argument: $type),*) -> $result $body
        )*
    };
}

memory_functions! {
    memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
        asm!("rep movsb", inout("rcx") size => _, inout("rdi") to => _, inout("rsi") from => _);
        to
    }
    memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= size {
            return memcpy(to, from, size);
        }
        asm!("std", "rep movsb", "cld", inout("rcx") size => _,
            inout("rdi") to.wrapping_add(size).wrapping_sub(1) => _,
            inout("rsi") from.wrapping_add(size).wrapping_sub(1) => _);
        to
    }
    memset(to: *mut u8, byte: i32, size: usize) -> *mut u8 {
        asm!("rep stosb", inout("rcx") size => _, inout("rdi") to => _, in("al") byte as u8);
        to
    }
    memcmp(a: *const u8, b: *const u8, size: usize) -> i32 {
        for i in 0..size {
            let difference = i32::from(a.add(i).read_volatile()) - i32::from(b.add(i).read_volatile());
            if difference != 0 {
                return difference;
            }
        }
        0
    }
}

/// liballoc was compiled to unwind; nothing here does.
#[no_mangle]
extern "C" fn rust_eh_personality() {}

#[no_mangle]
extern "C" fn _Unwind_Resume() -> ! {
    exit(5)
}

// ---- the program -------------------------------------------------------------------

fn use_the_heap() -> bool {
    let mut map = BTreeMap::new();
    for i in 0..500u64 {
        let mut text = String::new();
        if write!(text, "{}", i * i).is_err() {
            return false;
        }
        map.insert(i, Box::new(text));
    }
    let numbers: Vec<u64> = map.values().filter_map(|text| text.parse().ok()).collect();
    map.clear();
    numbers.iter().sum::<u64>() == 499 * 500 * 999 / 6
}

#[no_mangle]
extern "C" fn start() -> ! {
    // SAFETY: nobody else uses RAM.
    if unsafe { HEAP.claim(RAM.0.get().cast(), 1 << 20) }.is_err() {
        exit(6)
    }
    if !use_the_heap() || HEAP.stats().used_count != 0 || HEAP.audit().is_err() {
        exit(1)
    }
    exit(0)
}

core::arch::global_asm!(".globl _start", "_start:", "and rsp, -16", "call start");
