//! seccomp: the kernel refuses this process system calls that compiling and building never make: sockets,
//! other programs, other processes, and ways around this filter.

use std::io;

use libc::{c_long, sock_filter, sock_fprog};

/// Value of `seccomp_data.arch` for the target machine; none if it is not known, and then there is no filter.
const ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xC000_003E)
} else if cfg!(target_arch = "aarch64") {
    Some(0xC000_00B7)
} else if cfg!(target_arch = "arm") {
    Some(0x4000_0028)
} else if cfg!(target_arch = "riscv64") {
    Some(0xC000_00F3)
} else {
    None
};

/// Calls that are refused with "not permitted".
const REFUSED: &[c_long] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    // Requests of io_uring create sockets and open files past any filter of calls.
    libc::SYS_io_uring_setup,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_kill,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];

/// Bit of system call numbers of x86-64's second interface, which the numbers above do not cover.
const X32: u32 = 0x4000_0000;
/// Offsets in `seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const NOT_PERMITTED: u32 = 0x0005_0000 | libc::EPERM.unsigned_abs();

/// Returns true if there is a filter for this machine.
#[must_use]
pub(crate) const fn is_known() -> bool {
    ARCH.is_some()
}

const fn step(code: u16, value: u32, then: u8, otherwise: u8) -> sock_filter {
    sock_filter {
        code,
        jt: then,
        jf: otherwise,
        k: value,
    }
}

/// Returns the filter's program: a check of the architecture, then one comparison for each refused call.
fn program(arch: u32) -> Vec<sock_filter> {
    let mut steps = vec![
        step(LOAD, ARCH_AT, 0, 0),
        step(JUMP_EQUAL, arch, 1, 0),
        step(RETURN, KILL, 0, 0),
        step(LOAD, NUMBER_AT, 0, 0),
    ];
    if cfg!(target_arch = "x86_64") {
        steps.extend([step(JUMP_AT_LEAST, X32, 0, 1), step(RETURN, KILL, 0, 0)]);
    }
    for call in REFUSED {
        let number = u32::try_from(*call).expect("system calls have small numbers");
        steps.extend([step(JUMP_EQUAL, number, 0, 1), step(RETURN, NOT_PERMITTED, 0, 0)]);
    }
    steps.push(step(RETURN, ALLOW, 0, 0));
    steps
}

/// Refuses the calling process the calls above, for good. Returns whether a filter was set. The process must
/// have dropped the right to new privileges before.
pub(crate) fn restrict() -> io::Result<bool> {
    let Some(arch) = ARCH else { return Ok(false) };
    let mut steps = program(arch);
    let len = u16::try_from(steps.len()).expect("a filter of some fifty steps");
    let program = sock_fprog {
        len,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the program and its steps outlive the call, which copies them.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
            &raw const program,
        )
    };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    // A kernel without filters; the other bounds hold.
    if error.raw_os_error() == Some(libc::EINVAL) {
        Ok(false)
    } else {
        Err(error)
    }
}
