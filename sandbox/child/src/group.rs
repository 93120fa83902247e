//! A control group of their own for the children of this process, so that the limit on memory which a child reaches
//! ends the child and not its parent. Linux with control groups of version 2, in a group that the service manager has
//! handed over (`Delegate=yes`); everywhere else the children stay in the group of their parent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Root of the control groups.
const ROOT: &str = "/sys/fs/cgroup";
/// Attribute by which the service manager marks a group that it has handed over.
const DELEGATED: &str = "user.delegate";
/// Name of the group of this process, below the one that it was started in.
const PARENT: &str = "agent";
/// Name of the group of its children.
const CHILDREN: &str = "children";
/// Points by which a child is preferred when the kernel has to end a process; the maximum.
const EXPENDABLE: &[u8] = b"1000";

/// File that moves a process into the group of the children, if there is one.
static DOOR: OnceLock<File> = OnceLock::new();

/// Moves this process into a group beside one for its children, and limits the memory of all children together. Returns
/// `false` if the system has no groups of version 2, or the group of this process is not its own to divide.
///
/// # Errors
/// The group is this process's own, and dividing it failed: the children stay in the group of their parent.
pub fn separate_children(memory_bytes: u64) -> io::Result<bool> {
    if DOOR.get().is_some() {
        return Ok(true);
    }
    let Some(own) = own_group(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default()) else {
        return Ok(false);
    };
    if !is_delegated(&own) {
        return Ok(false);
    }
    let named =
        |path: &Path, error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(|error| named(&path, error));
    let (parent, children) = (own.join(PARENT), own.join(CHILDREN));
    for group in [&parent, &children] {
        match fs::create_dir(group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(named(group, error)),
            _ => {}
        }
    }
    // A group with processes of its own cannot have groups with limits below it.
    write(parent.join("cgroup.procs"), "0")?;
    write(own.join("cgroup.subtree_control"), "+memory")?;
    write(children.join("memory.max"), &memory_bytes.to_string())?;
    // A group without swap has no such file.
    let _ = fs::write(children.join("memory.swap.max"), "0");
    let path = children.join("cgroup.procs");
    let door = File::options()
        .write(true)
        .open(&path)
        .map_err(|error| named(&path, error))?;
    // Set by the first caller only.
    let _ = DOOR.set(door);
    Ok(true)
}

/// Returns the folder of the process's group of version 2, from the text of `/proc/self/cgroup`.
fn own_group(text: &str) -> Option<PathBuf> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // Outside of its own name space a path has steps upwards; the root group has no limits.
    if path.is_empty() || path.split('/').any(|step| step == "..") {
        return None;
    }
    Some(Path::new(ROOT).join(path))
}

/// Returns true if the service manager has handed the group over, with a limit on memory.
fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 8];
    let marked =
        rustix::fs::getxattr(group, DELEGATED, &mut value[..]).is_ok_and(|len| &value[..len] == b"1");
    let limited = fs::read_to_string(group.join("cgroup.controllers"))
        .is_ok_and(|text| text.split_whitespace().any(|name| name == "memory"));
    marked && limited
}

/// Returns the open file that moves a child into its group.
pub(crate) fn door() -> Option<RawFd> {
    DOOR.get().map(AsRawFd::as_raw_fd)
}

/// Moves the calling process through the door. Makes one system call, so that it is safe between fork and exec.
pub(crate) fn enter(door: RawFd) {
    // Without the group the child is still bound by its own limits.
    // SAFETY: a system call on a number and a constant; the parent keeps the file open.
    let _ = unsafe { libc::write(door, b"0".as_ptr().cast(), 1) };
}

/// Makes the calling process the one that the kernel ends first when memory is short.
pub(crate) fn be_expendable() {
    // A system without the file ends processes by their size, and children are large.
    let _ = File::options()
        .write(true)
        .open("/proc/self/oom_score_adj")
        .and_then(|mut file| file.write_all(EXPENDABLE));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_the_one_of_version_2() {
        for (text, group) in [
            (
                "0::/system.slice/iottly-agent.service\n",
                Some("/sys/fs/cgroup/system.slice/iottly-agent.service"),
            ),
            (
                "12:memory:/a\n1:name=systemd:/a\n0::/b\n",
                Some("/sys/fs/cgroup/b"),
            ),
            ("12:memory:/docker/1\n1:name=systemd:/a\n", None),
            ("0::/\n", None),
            ("0::/../other\n", None),
            ("", None),
        ] {
            assert_eq!(own_group(text).as_deref(), group.map(Path::new), "{text:?}");
        }
    }

    #[test]
    fn a_group_that_is_not_handed_over_is_left_as_it_is() {
        // Tests do not run in a service with `Delegate=yes`.
        assert!(!separate_children(1 << 20).expect("nothing is divided"));
        assert_eq!(door(), None);
    }
}
