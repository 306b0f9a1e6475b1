//! Gives memory back after a task: the agent idles in every container, and what a talkative CLI made it allocate
//! would stay with it for days.

/// Returns free heap pages to the system. Costs microseconds; called between tasks only.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    trim();
}

#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the C library offers its trim only as a foreign function")]
fn trim() {
    // SAFETY: malloc_trim takes no pointer, may be called at any time from any thread, and frees only pages that the
    // allocator itself holds as unused.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
