//! The three functions that Loam needs from a kernel, made of std (feature
//! `host-hooks`). A kernel defines its own; see the crate's documentation.

use std::ffi::CStr;
use std::os::raw::c_char;

use crate::Panic;

/// Never called: without interrupts to turn off no lock asks for the CPU.
#[no_mangle]
extern "C" fn loam_port_cpu() -> u32 {
    0
}

/// Never called: nothing here changes page tables.
#[no_mangle]
extern "C" fn loam_port_tlb_flush(_flush: *const u8) {}

/// Says which rule was broken and aborts: the heap's lock is held.
#[no_mangle]
unsafe extern "C" fn loam_port_panic(panic: *const Panic) -> ! {
    let panic = &*panic;
    let rule = CStr::from_ptr(panic.rule.cast::<c_char>()).to_string_lossy();
    let (subject, detail) = (panic.subject, panic.detail);
    eprintln!("panic: {rule}\n  subject {subject:#x}, detail {detail:#x}");
    std::process::abort()
}
