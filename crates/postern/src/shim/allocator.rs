//! Limits on the free memory that the allocator keeps.
//!
//! The allocator of glibc keeps up to twice the largest block that was ever freed (at most 64 MiB),
//! and every free page between two used blocks. A shim and a bridge run for weeks, and a long message
//! must not occupy memory for that long.
//!
//! Owns: the settings of glibc's allocator. Does nothing for other allocators.

/// The size in bytes from which blocks are mapped separately, and unmapped when freed. Most messages
/// are smaller: new pages for each would cost more than reading the message.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MIN_MAPPED: libc::c_int = 2 << 20;

/// How many free bytes stay at the end of the heap, for the messages that are handled concurrently.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAX_FREE: libc::c_int = 8 << 20;

/// The maximum number of heaps. Each keeps its own free memory. Short-lived threads each process one
/// long message, and only one of the other threads allocates much.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAX_HEAPS: libc::c_int = 2;

/// Limits how much free memory the allocator keeps. Called once, at the start of a process that calls
/// [`return_free_memory`] from time to time.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "there is no safe interface to the allocator")]
pub fn limit_free_memory() {
    // SAFETY: each call takes two numbers and changes only settings of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MIN_MAPPED);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MAX_FREE);
        libc::mallopt(libc::M_ARENA_MAX, MAX_HEAPS);
    }
}

/// Returns free memory from anywhere in the heap to the system.
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
