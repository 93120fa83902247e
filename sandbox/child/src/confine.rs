//! What a child takes from itself before it touches a stranger's bytes.

use std::io;
use std::path::Path;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use crate::{landlock, seccomp};

/// Files that a child has open at once.
const OPEN_FILES: u64 = 64;

/// What a child may use of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// Processor time in seconds.
    pub cpu_s: u64,
    /// Bytes of data, that is private writable memory; reserved address space is free.
    pub data_bytes: u64,
    /// Bytes of any file it writes.
    pub file_bytes: u64,
    /// The folder that it may use beside the files it was given; none for no folder at all.
    pub folder: Option<&'a Path>,
}

/// Binds the calling process to `bounds`, for good, and lets it end with its parent: limits of the system, no
/// new privileges, no file outside of its folder (Landlock) and no sockets (seccomp) where the kernel has
/// them, see [`Confinement::here`].
///
/// # Errors
/// What the system says when it refuses something that it has.
pub fn confine(bounds: Bounds<'_>) -> io::Result<()> {
    limit(Resource::Cpu, bounds.cpu_s)?;
    limit(Resource::Data, bounds.data_bytes)?;
    limit(Resource::Fsize, bounds.file_bytes)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, OPEN_FILES)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // SAFETY: a system call on numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) } != 0 {
        return Err(io::Error::last_os_error());
    }
    landlock::restrict(bounds.folder)?;
    seccomp::restrict()?;
    Ok(())
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    Ok(setrlimit(
        resource,
        Rlimit {
            current: Some(value),
            maximum: Some(value),
        },
    )?)
}

/// Makes `folder` the root of the calling process's files, so that what lies outside does not even exist for
/// it. Needs the right to do so, or user namespaces; returns whether it was done.
#[must_use]
pub fn enclose(folder: &Path) -> bool {
    let enter = || rustix::process::chroot(folder).and_then(|()| rustix::process::chdir("/"));
    if enter().is_ok() {
        return true;
    }
    // SAFETY: a system call on numbers; the process has one thread yet, as the call demands.
    let alone = unsafe { libc::unshare(libc::CLONE_NEWUSER) } == 0;
    alone && enter().is_ok()
}

/// What the kernel has to confine children with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// Version of Landlock; 0 for none.
    pub landlock: u32,
    /// Whether system calls are filtered.
    pub seccomp: bool,
}

impl Confinement {
    /// Asks the running kernel.
    #[must_use]
    pub fn here() -> Self {
        Self {
            landlock: landlock::version(),
            seccomp: seccomp::is_known(),
        }
    }
}

impl std::fmt::Display for Confinement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.landlock {
            0 => f.write_str("Landlock: not in this kernel, children can open files of this user; ")?,
            version => write!(f, "Landlock: version {version}; ")?,
        }
        f.write_str(if self.seccomp {
            "seccomp: no sockets"
        } else {
            "seccomp: no filter for this processor"
        })
    }
}
