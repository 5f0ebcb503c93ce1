//! What the allocator of the system keeps of memory that was given back to it.
//!
//! That of glibc keeps as much as twice the largest block that was ever freed (64 MiB at most), and
//! every free page between two blocks in use. A shim and a bridge run for weeks, and a long message
//! must not cost memory for as long.
//!
//! Owns: the settings of that allocator. Does nothing where there is another one.

/// Blocks from this size on are taken from the system, and given back at once, in bytes. Below it
/// are the messages that there are many of: new pages for each would cost more than to read it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MIN_MAPPED: libc::c_int = 2 << 20;

/// How much free memory stays at the end of the heap, in bytes: for the messages that are handled
/// at the same time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAX_FREE: libc::c_int = 8 << 20;

/// How many heaps there are. Each keeps free memory of its own, and threads come and go that do one
/// pass over a long message each; of the others one thread alone allocates much.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAX_HEAPS: libc::c_int = 2;

/// Fixes how much the allocator keeps, once, at the start of the process, which calls
/// [`return_free_memory`] at times.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe interface to the allocator")]
pub fn limit_free_memory() {
    // SAFETY: each call takes two numbers, and changes settings of the allocator alone.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MIN_MAPPED);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MAX_FREE);
        libc::mallopt(libc::M_ARENA_MAX, MAX_HEAPS);
    }
}

/// Gives free memory back to the system, wherever in the heap it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe interface to the allocator")]
pub fn return_free_memory() {
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Does nothing: other allocators give memory back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn limit_free_memory() {}

/// Does nothing: other allocators give memory back by themselves.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn return_free_memory() {}
