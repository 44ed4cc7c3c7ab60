//! seccomp: the system calls that are left.
//!
//! What is not on the list fails with EPERM, as under Docker and systemd: a call that nobody foresaw
//! then costs one request, or one line of the log, rather than the process and all it serves. A kernel
//! from 5.11 on remembers which calls are allowed whatever their arguments, and does not run the
//! filter for them. Of the calls that serve requests, those that open a socket have a condition, and
//! where ports are bounded those that send.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::c_long;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::{Notify, Rules};

type Calls = BTreeMap<c_long, Vec<SeccompRule>>;

/// Allowed whatever their arguments.
const PLAIN: &[c_long] = &[
    // What is open, and what Landlock lets be opened.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_fadvise64,
    libc::SYS_dup,
    // Sockets, once they are there. Without listen(2) one that is bound serves nobody.
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_sendto,
    // Of a file that is open, to a socket that is.
    libc::SYS_sendfile,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    // Time, where the vDSO does not tell it.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads.
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Facts.
    libc::SYS_getrandom,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrusage,
];

/// Of files that are made, put in their place, and removed, where there is a folder for that.
const WRITING: &[c_long] = &[
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// What musl, and older glibc, still do by the calls that were there first.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// The requests of ioctl(2), which `libc` has as a type that differs: `asm-generic/ioctls.h`.
const TCGETS: u64 = 0x5401;
const FIONREAD: u64 = 0x541B;
const FIONBIO: u64 = 0x5421;
const FIOCLEX: u64 = 0x5451;

/// The bits of a socket's type that are no flags.
const SOCK_TYPE_MASK: u64 = 0xf;

/// Restricts this thread; answers how many calls are left, or why all are.
pub(super) fn restrict(rules: &Rules) -> Result<usize, String> {
    let arch = TargetArch::try_from(ARCH).map_err(|_| format!("seccomp has no list for {ARCH}"))?;
    let (calls, programs) = compile(rules, arch).map_err(|error| format!("seccomp: {error}"))?;
    for program in &programs {
        apply_filter(program).map_err(|error| format!("seccomp: {error}"))?;
    }
    Ok(calls)
}

fn compile(rules: &Rules, arch: TargetArch) -> Result<(usize, [BpfProgram; 2]), BackendError> {
    let refused = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    let mut calls = allowed(rules)?;
    let count = calls.len();
    // Its flags are behind a pointer, where no filter can look. "There is no such call" is what makes
    // the C library fall back to clone(2). One filter refuses in one way, so that takes another, and
    // the list, which comes second since it also refuses filters, has to let it pass.
    let unknown = Calls::from([(libc::SYS_clone3, Vec::new())]);
    let unknown = SeccompFilter::new(unknown, SeccompAction::Allow, refused(libc::ENOSYS), arch)?;
    calls.insert(libc::SYS_clone3, Vec::new());
    let list = SeccompFilter::new(calls, refused(libc::EPERM), SeccompAction::Allow, arch)?;
    Ok((count, [unknown.try_into()?, list.try_into()?]))
}

fn allowed(rules: &Rules) -> Result<Calls, BackendError> {
    let mut calls: Calls = PLAIN.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    if rules.connect.is_some() {
        // To send with this flag is to connect, which Landlock does not see (TCP Fast Open, tcp(7)).
        let elsewhere = |place| rule([(place, MaskedEq(bits(libc::MSG_FASTOPEN)), 0)]);
        for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
            calls.insert(call, vec![elsewhere(flags)?]);
        }
    }
    if !rules.write.is_empty() {
        calls.extend(WRITING.iter().map(|call| (*call, Vec::new())));
    }
    let sockets = sockets(rules)?;
    // A call without a rule would be one without a condition.
    if !sockets.is_empty() {
        calls.insert(libc::SYS_socket, sockets);
    }
    // Pairs reach nobody outside.
    calls.insert(libc::SYS_socketpair, vec![rule([(0, Eq, bits(libc::AF_UNIX))])?]);
    // A thread of this process, and nothing else: neither a process nor a namespace.
    let thread = bits(libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND);
    let namespaces = bits(
        libc::CLONE_NEWNS
            | libc::CLONE_NEWCGROUP
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUSER
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET,
    );
    calls.insert(libc::SYS_clone, vec![rule([(0, MaskedEq(thread | namespaces), thread)])?]);
    // No memory becomes code.
    let no_code = || rule([(2, MaskedEq(bits(libc::PROT_EXEC)), 0)]);
    calls.insert(libc::SYS_mmap, vec![no_code()?]);
    calls.insert(libc::SYS_mprotect, vec![no_code()?]);
    let requests = [TCGETS, FIONREAD, FIONBIO, FIOCLEX].map(|request| rule([(1, Eq, request)]));
    calls.insert(libc::SYS_ioctl, requests.into_iter().collect::<Result<_, _>>()?);
    // Not who is sent a signal when something comes in, which could be anybody.
    let commands =
        [libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL].map(bits);
    let commands = commands.map(|command| rule([(1, Eq, command)]));
    calls.insert(libc::SYS_fcntl, commands.into_iter().collect::<Result<_, _>>()?);
    calls.insert(libc::SYS_prctl, vec![rule([(0, Eq, bits(libc::PR_SET_NAME))])?]);
    // Its own limits alone, and those only to be read. What is compared here is a pointer.
    let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, Eq, 0)?;
    let only_read = SeccompCondition::new(2, SeccompCmpArgLen::Qword, Eq, 0)?;
    calls.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![own, only_read])?]);
    // How a process aborts.
    let own = u64::from(std::process::id());
    calls.insert(libc::SYS_tgkill, vec![rule([(0, Eq, own)])?]);
    Ok(calls)
}

/// TCP and UDP, and no protocol that comes to the same by another name, which Landlock would not
/// know: MPTCP, SCTP, SMC.
fn sockets(rules: &Rules) -> Result<Vec<SeccompRule>, BackendError> {
    let mut kinds = Vec::new();
    let mut protocols = Vec::new();
    if rules.connect.as_ref().is_none_or(|ports| !ports.is_empty()) {
        protocols.push((libc::SOCK_STREAM, libc::IPPROTO_TCP));
    }
    if rules.udp {
        protocols.push((libc::SOCK_DGRAM, libc::IPPROTO_UDP));
    }
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in &protocols {
            for protocol in [0, *protocol] {
                kinds.push(rule([
                    (0, Eq, bits(family)),
                    (1, MaskedEq(SOCK_TYPE_MASK), bits(*kind)),
                    (2, Eq, bits(protocol)),
                ])?);
            }
        }
    }
    if rules.notify != Notify::Nowhere {
        let datagrams = (1, MaskedEq(SOCK_TYPE_MASK), bits(libc::SOCK_DGRAM));
        kinds.push(rule([(0, Eq, bits(libc::AF_UNIX)), datagrams])?);
    }
    Ok(kinds)
}

/// All of these: the argument, how it is compared, and with what. Compared are the 32 bits that the
/// kernel takes of each of them.
fn rule<const N: usize>(
    conditions: [(u8, seccompiler::SeccompCmpOp, u64); N],
) -> Result<SeccompRule, BackendError> {
    let condition = |(place, how, value)| SeccompCondition::new(place, SeccompCmpArgLen::Dword, how, value);
    SeccompRule::new(conditions.into_iter().map(condition).collect::<Result<_, _>>()?)
}

const fn bits(value: i32) -> u64 {
    value.cast_unsigned() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What would make more of the process than it is, or lead out of it.
    const NEVER: &[c_long] = &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_capset,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_getfd,
        libc::SYS_memfd_create,
        libc::SYS_personality,
        libc::SYS_listen,
        libc::SYS_mkdirat,
        libc::SYS_mknodat,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_symlinkat,
        libc::SYS_linkat,
        libc::SYS_fchmodat,
        libc::SYS_fchownat,
        libc::SYS_truncate,
        libc::SYS_seccomp,
    ];

    #[test]
    fn no_list_holds_what_leads_out() {
        for (connect, udp, notify) in [
            (None, true, Notify::Abstract),
            (Some(vec![80]), false, Notify::Path),
            (Some(vec![]), false, Notify::Nowhere),
        ] {
            let rules = Rules { connect, udp, notify, ..Rules::default() };
            let calls = allowed(&rules).unwrap();
            for call in NEVER {
                assert!(!calls.contains_key(call), "call {call} with {rules:?}");
            }
            assert_eq!(calls.contains_key(&libc::SYS_socket), rules.connect != Some(vec![]), "{rules:?}");
        }
    }

    #[test]
    fn a_call_stands_once_on_the_list() {
        let (all, conditional) = (PLAIN.len() + OLDER.len(), 10);
        assert_eq!(allowed(&Rules::default()).unwrap().len(), all + conditional);
    }

    #[test]
    fn there_is_a_list_for_each_platform_that_is_built_for() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            let (_, programs) = compile(&Rules::default(), arch).unwrap();
            assert!(programs.iter().all(|program| !program.is_empty()));
        }
    }
}
