//! Landlock: the kernel refuses this process every file outside of a folder of its own. Three system calls,
//! so no crate is used.
//!
//! Files that are open already stay open: a child's input and output need no rule.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

/// Rights on files of each version of the interface, as a mask; version 5 is the newest that adds one.
const FILE_RIGHTS: [u64; 5] = [
    (1 << 13) - 1,
    (1 << 14) - 1,
    (1 << 15) - 1,
    (1 << 15) - 1,
    (1 << 16) - 1,
];
/// Rights to bind and connect TCP sockets, since version 4.
const NET_RIGHTS: u64 = 0b11;
/// Scopes of abstract sockets and signals, since version 6.
const SCOPES: u64 = 0b11;
/// Rights beneath the child's own folder: everything but running programs, devices, sockets and pipes.
const OWN_RIGHTS: u64 = 0b0110_0001_1011_1110;

const CREATE_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

#[repr(C)]
struct RulesetAttr {
    fs: u64,
    net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// Returns the version of the kernel's Landlock; 0 if it has none, or does not let this process use it.
#[must_use]
pub(crate) fn version() -> u32 {
    // SAFETY: without attributes the call reads nothing and returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            CREATE_VERSION,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// Refuses the calling process every file outside of `own`, for good, if the kernel can. Returns whether it
/// can.
pub(crate) fn restrict(own: Option<&Path>) -> io::Result<bool> {
    let version = version();
    let Some(newest) = version.checked_sub(1) else {
        return Ok(false);
    };
    let rights = FILE_RIGHTS[usize::try_from(newest)
        .unwrap_or(usize::MAX)
        .min(FILE_RIGHTS.len() - 1)];
    let attr = RulesetAttr {
        fs: rights,
        net: if version >= 4 { NET_RIGHTS } else { 0 },
        scoped: if version >= 6 { SCOPES } else { 0 },
    };
    let size: usize = match version {
        1..4 => 8,
        4..6 => 16,
        _ => size_of::<RulesetAttr>(),
    };
    // SAFETY: `attr` outlives the call, and `size` is at most its size.
    let ruleset = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size, 0_u32) };
    let ruleset = i32::try_from(checked(ruleset)?).map_err(io::Error::other)?;
    // SAFETY: the call above returned this descriptor, and nothing else owns it.
    let ruleset = unsafe { OwnedFd::from_raw_fd(ruleset) };
    if let Some(own) = own {
        let folder = File::open(own)?;
        let rule = PathBeneath {
            allowed: OWN_RIGHTS & rights,
            parent: folder.as_raw_fd(),
        };
        // SAFETY: `rule` outlives the call and has the kernel's layout.
        checked(unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset.as_raw_fd(),
                RULE_PATH_BENEATH,
                &raw const rule,
                0_u32,
            )
        })?;
    }
    // SAFETY: a system call on numbers.
    checked(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) })?;
    Ok(true)
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
