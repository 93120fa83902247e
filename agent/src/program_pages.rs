//! Gives back the memory that holds pages of the program's own file which only the start needed.
//!
//! The kernel maps more of a file than was asked for and keeps it mapped, so long after its start an agent still counts
//! most of its program as its memory: TLS handshakes, the recovery of the queue, the loading of firmware.

#![allow(unsafe_code, reason = "the call takes a range of addresses")]

use std::fs;
use std::io;
use std::time::Duration;

use rustix::mm::{Advice, madvise};

/// Time from the start until its pages are given back: the agent is connected by then, and firmware runs.
const SETTLED: Duration = Duration::from_secs(60);

/// Waits until the start is over, then gives back the pages that it has used.
pub async fn give_back_when_settled() {
    tokio::time::sleep(SETTLED).await;
    match give_back() {
        Ok(bytes) => tracing::debug!(memory.bytes = bytes, "pages of the program are given back"),
        Err(error) => {
            tracing::debug!(%error, "failed to give back pages of the program; they stay in memory");
        }
    }
}

/// Unmaps the pages of the program's file that never change. The next use maps them again, from the kernel's cache as a
/// rule. Returns the size of the ranges, in bytes.
fn give_back() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mut bytes = 0;
    for range in constant_ranges(&maps, &program.to_string_lossy()) {
        // SAFETY: no process writes to these pages, which a file backs: after this call they have the same content.
        unsafe { madvise(range.start as *mut _, range.len(), Advice::LinuxDontNeed)? };
        bytes += range.len();
    }
    Ok(bytes)
}

/// Returns the ranges of `maps` with code and constants of the program.
///
/// Pages that hold addresses are read-only, too, but not what the file has: the start has put the addresses there. The
/// linker places them behind the code, constants before it, at the file's beginning.
fn constant_ranges(maps: &str, program: &str) -> Vec<std::ops::Range<usize>> {
    maps.lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace();
            let (range, access, offset) = (fields.next()?, fields.next()?, fields.next()?);
            let path = line.find('/').map(|at| &line[at..])?;
            let offset = u64::from_str_radix(offset, 16).ok()?;
            let constant = access == "r-xp" || access == "r--p" && offset == 0;
            if path != program || !constant {
                return None;
            }
            let (start, end) = range.split_once('-')?;
            Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_and_constants_are_constant() {
        let maps = "\
7f0000000000-7f0000003000 r--p 00000000 fe:00 12    /opt/my agent
7f0000003000-7f0000009000 r-xp 00002000 fe:00 12    /opt/my agent
7f0000009000-7f000000a000 r--p 00007000 fe:00 12    /opt/my agent
7f000000a000-7f000000b000 rw-p 00008000 fe:00 12    /opt/my agent
7f000000b000-7f000000c000 r-xp 00000000 fe:00 13    /opt/other
7f000000c000-7f000000d000 r-xp 00000000 00:00 0     [vdso]
7f000000d000-7f000000e000 rw-p 00000000 00:00 0
";
        assert_eq!(
            constant_ranges(maps, "/opt/my agent"),
            [
                0x7f00_0000_0000..0x7f00_0000_3000,
                0x7f00_0000_3000..0x7f00_0000_9000
            ]
        );
        assert!(constant_ranges(maps, "/opt/my").is_empty());
    }

    /// Returns the resident bytes of the ranges, in KiB.
    fn resident_kib() -> u64 {
        let program = fs::read_link("/proc/self/exe").expect("Linux");
        let maps = fs::read_to_string("/proc/self/maps").expect("Linux");
        let starts: Vec<String> = constant_ranges(&maps, &program.to_string_lossy())
            .iter()
            .map(|range| format!("{:x}-", range.start))
            .collect();
        let mut counts = false;
        let mut sum = 0;
        for line in fs::read_to_string("/proc/self/smaps").expect("Linux").lines() {
            if let Some(kib) = line.strip_prefix("Rss:") {
                if counts {
                    sum += kib
                        .trim()
                        .trim_end_matches(" kB")
                        .parse::<u64>()
                        .expect("a number");
                }
            } else if !line.contains("kB") && line.contains('-') {
                counts = starts.iter().any(|start| line.starts_with(start));
            }
        }
        sum
    }

    #[test]
    fn pages_of_the_start_are_given_back_and_the_program_goes_on() {
        let before = resident_kib();
        let bytes = give_back().expect("the kernel does it");
        let after = resident_kib();
        assert!(bytes > 1 << 20, "{bytes}");
        assert!(after < before, "{after} KiB after, {before} before");
    }
}
