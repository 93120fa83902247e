//! File systems mounted for a test. Mounting needs root: elsewhere a test skips, except in CI.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounted file system; thawed and unmounted when dropped.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts a file system in memory; `None` where mounting is not allowed.
    pub(crate) fn tmpfs(size: &str, at: &Path) -> Option<Self> {
        let size = format!("size={size}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at);
        Self::mounted(&mut command, at)
    }

    /// Mounts an image; `None` where mounting is not allowed.
    pub(crate) fn image(image: &Path, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("folder");
        Self::mounted(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at), at)
    }

    /// Creates and mounts an ext4 of 64 MiB; `None` where that is not allowed.
    pub(crate) fn ext4(image: &Path, at: &Path) -> Option<Self> {
        File::create(image)
            .and_then(|file| file.set_len(64 << 20))
            .expect("image");
        if succeeds(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image)) {
            return Self::image(image, at);
        }
        assert!(std::env::var_os("CI").is_none(), "CI must have mkfs.ext4");
        None
    }

    fn mounted(command: &mut Command, at: &Path) -> Option<Self> {
        if succeeds(command) {
            return Some(Self(at.to_owned()));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must be able to mount a file system"
        );
        None
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Freezes the file system: writes block until it is thawed.
    pub(crate) fn freeze(&self) {
        assert!(succeeds(Command::new("fsfreeze").arg("-f").arg(&self.0)));
    }

    pub(crate) fn thaw(&self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).output();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.thaw();
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
