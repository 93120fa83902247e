use std::io;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

/// What a child may use of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Processor time in seconds.
    pub cpu_s: u64,
    /// Bytes of data, that is private writable memory; reserved address space is free.
    pub data_bytes: u64,
    /// Bytes of any file it writes.
    pub file_bytes: u64,
}

/// Binds the calling process to `bounds`, for good, and lets it end with its parent.
///
/// # Errors
/// What the system says when it refuses a limit.
pub fn confine(bounds: Bounds) -> io::Result<()> {
    limit(Resource::Cpu, bounds.cpu_s)?;
    limit(Resource::Data, bounds.data_bytes)?;
    limit(Resource::Fsize, bounds.file_bytes)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, 64)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}
