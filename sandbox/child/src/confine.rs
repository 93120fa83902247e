//! Confinement of the calling process, to be set up before it reads untrusted bytes. Cannot be undone.

use std::io;
use std::path::Path;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use crate::{group, landlock, seccomp};

/// Maximum number of files that a child has open at once.
const OPEN_FILES: u64 = 64;

/// Resources that a child may use.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// Processor time in seconds, after which `SIGXCPU` ends the child; one that ignores the signal is killed a
    /// second later.
    pub cpu_s: u64,
    /// Size of private writable memory in bytes; reserved address space is free.
    pub data_bytes: u64,
    /// Maximum size of any file that the child writes, in bytes.
    pub file_bytes: u64,
    /// Folder that the child may use beside the files that it was given; none for no folder at all.
    pub folder: Option<&'a Path>,
}

/// Binds the calling process to `bounds`, for good, and makes it end with its parent: limits of the system,
/// no new privileges, no file outside of its folder (Landlock) and no sockets (seccomp) where the kernel has
/// them, see [`Confinement::here`].
///
/// # Errors
/// The system refuses a limit that it supports.
pub(crate) fn confine(bounds: Bounds<'_>) -> io::Result<()> {
    let killed_at = bounds.cpu_s.saturating_add(1);
    limit_in_steps(Resource::Cpu, bounds.cpu_s, killed_at)?;
    limit(Resource::Data, bounds.data_bytes)?;
    limit(Resource::Fsize, bounds.file_bytes)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, OPEN_FILES)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    group::be_expendable();
    // As wide as the kernel's: wider ones are passed in other registers on 32-bit processors.
    let (one, zero): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: a system call on numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) } != 0 {
        return Err(io::Error::last_os_error());
    }
    landlock::restrict(bounds.folder)?;
    seccomp::restrict()?;
    Ok(())
}

fn limit(resource: Resource, value: u64) -> io::Result<()> {
    limit_in_steps(resource, value, value)
}

fn limit_in_steps(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    Ok(setrlimit(
        resource,
        Rlimit {
            current: Some(current),
            maximum: Some(maximum),
        },
    )?)
}

/// Makes `folder` the root of the calling process's files, so that no path leads outside. Needs the right to
/// do so, or user namespaces; returns whether it succeeded.
#[must_use]
pub fn enclose(folder: &Path) -> bool {
    let enter = || rustix::process::chroot(folder).and_then(|()| rustix::process::chdir("/"));
    if enter().is_ok() {
        return true;
    }
    // SAFETY: a system call on numbers; the process still has one thread, as the call demands.
    let alone = unsafe { libc::unshare(libc::CLONE_NEWUSER) } == 0;
    alone && enter().is_ok()
}

/// Means of confinement that the kernel offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// Version of Landlock; 0 for none.
    pub landlock: u32,
    /// True if system calls are filtered.
    pub seccomp: bool,
}

impl Confinement {
    /// Queries the running kernel.
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
