//! No C runtime, no libc: only what the program itself brings.
fn main() {
    for flag in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        println!("cargo:rustc-link-arg={flag}");
    }
}
