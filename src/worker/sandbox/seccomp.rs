//! seccomp: system calls that no script needs are refused with EACCES, as a file would be; nothing is killed.
//!
//! A list of what is refused, not of what is allowed: a new libc may use calls that nobody has heard of yet. Behind it
//! stand Landlock and an unprivileged user.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Size, SeccompCmpOp as Is, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

use crate::lua::grants::Grants;

/// Refused to every confined worker, whatever its header says.
const NEVER: &[c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    libc::SYS_setpriority,
    libc::SYS_ioprio_set,
    libc::SYS_perf_event_open,
    // Large and lately added parts of the kernel.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Rights of files, which Landlock leaves alone.
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    SYS_FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_mknodat,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    // Programs and memory without a name that Landlock could check; memory that others share.
    libc::SYS_execveat,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    // A script is a client; Landlock does not see a port that is chosen by listening.
    libc::SYS_listen,
];

/// Since Linux 6.6; the same number everywhere.
const SYS_FCHMODAT2: c_long = 452;

/// Older forms, which only some processors have.
#[cfg(target_arch = "x86_64")]
const NEVER_HERE: &[c_long] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_mknod,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_kexec_file_load,
];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[c_long] = &[];

/// Refused to those that may start no program.
const NO_PROGRAMS: &[c_long] = &[libc::SYS_execve, libc::SYS_pidfd_open, libc::SYS_utimensat];
#[cfg(target_arch = "x86_64")]
const NO_PROGRAMS_HERE: &[c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const NO_PROGRAMS_HERE: &[c_long] = &[];

/// New namespaces as flags of `clone`.
const NAMESPACES: [u64; 7] = [
    0x0002_0000,
    0x0200_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
];
const CLONE_THREAD: u64 = 0x0001_0000;
/// TCP that connects with its first data, past Landlock's look at `connect`.
const MSG_FASTOPEN: u64 = 0x2000_0000;
/// Typing into a terminal, and pasting into it.
const TERMINAL_INPUT: [u64; 2] = [0x5412, 0x541C];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Refuses system calls to this thread, and to all that it starts from now on.
///
/// `scoped`: Landlock keeps signals within the sandbox.
///
/// # Errors
/// What the system says, for `status`.
pub(super) fn apply(grants: &Grants, scoped: bool) -> Result<(), String> {
    let program = program(grants, scoped).map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

fn program(grants: &Grants, scoped: bool) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules = Rules::new();
    for number in NEVER.iter().chain(NEVER_HERE) {
        rules.insert(*number, Vec::new());
    }
    sockets(&mut rules, grants)?;
    processes(&mut rules, grants, scoped)?;
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let refuse = SeccompAction::Errno(errno(libc::EACCES));
    let always = unconditional(&mut rules);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    let mut program = first();
    program.extend(search(&always));
    program.extend(BpfProgram::try_from(filter)?);
    Ok(program)
}

/// Refuses these numbers, which rise, and lets every other go on behind it. The kernel runs the filter once for each
/// call that there is when it is installed, so a list that is walked from end to end costs each worker's start.
fn search(numbers: &[u32]) -> BpfProgram {
    let mut tree = branch(numbers);
    let end = tree.len();
    for (at, step) in tree.iter_mut().enumerate() {
        if step.code == GO_ON {
            step.k = u32::try_from(end - at - 1).unwrap_or(0);
        }
    }
    tree
}

fn branch(numbers: &[u32]) -> BpfProgram {
    if numbers.len() <= LEAF {
        let refuse = |number: &u32| {
            [
                step(JUMP_EQUAL, 0, 1, *number),
                step(RETURN, 0, 0, ERRNO | errno(libc::EACCES)),
            ]
        };
        let mut leaf: BpfProgram = numbers.iter().flat_map(refuse).collect();
        leaf.push(step(GO_ON, 0, 0, 0));
        return leaf;
    }
    let (low, high) = numbers.split_at(numbers.len() / 2);
    let (below, above) = (branch(low), branch(high));
    // Far less than 255: a leaf has nine steps, and there are about twenty.
    let skip = u8::try_from(below.len()).unwrap_or(u8::MAX);
    let mut tree = vec![step(JUMP_AT_LEAST, skip, 0, high[0])];
    tree.extend(below);
    tree.extend(above);
    tree
}

/// The filter's machine: load the word at an offset, compare and skip, skip always, end.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const GO_ON: u16 = 0x05;
const RETURN: u16 = 0x06;
/// An end that gives the caller an error.
const ERRNO: u32 = 0x0005_0000;
/// Numbers that are compared one after the other.
const LEAF: usize = 4;

fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// Takes out what is refused whatever its arguments are.
fn unconditional(rules: &mut Rules) -> Vec<u32> {
    let (always, others): (Rules, Rules) = std::mem::take(rules)
        .into_iter()
        .partition(|(_, conditions)| conditions.is_empty());
    *rules = others;
    let numbers = always.into_keys();
    numbers
        .filter_map(|number| u32::try_from(number).ok())
        .collect()
}

fn errno(number: i32) -> u32 {
    number.unsigned_abs()
}

/// What the crate cannot say: `clone3`, whose flags lie in memory, does not exist (so libc takes `clone`); calls of the
/// 32-bit kind, which have other numbers, are refused.
fn first() -> BpfProgram {
    const OTHER_KIND: u32 = 0x4000_0000;
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap_or(u32::MAX);
    vec![
        // The number of the call lies at the beginning.
        step(LOAD, 0, 0, 0),
        step(JUMP_EQUAL, 0, 1, clone3),
        step(RETURN, 0, 0, ERRNO | errno(libc::ENOSYS)),
        step(JUMP_AT_LEAST, 0, 1, OTHER_KIND),
        step(RETURN, 0, 0, ERRNO | errno(libc::EACCES)),
    ]
}

type Built<T> = Result<T, seccompiler::BackendError>;

fn when(argument: u8, is: Is, value: u64) -> Built<SeccompCondition> {
    SeccompCondition::new(argument, Size::Dword, is, value)
}

/// Refuses `number` where all conditions hold.
fn refuse(rules: &mut Rules, number: c_long, conditions: Vec<SeccompCondition>) -> Built<()> {
    let rule = SeccompRule::new(conditions)?;
    rules.entry(number).or_default().push(rule);
    Ok(())
}

/// TCP, UDP and pings where `allow.net` has entries, Unix where `allow.unix` has; nothing else, be it netlink, raw or packets.
fn sockets(rules: &mut Rules, grants: &Grants) -> Built<()> {
    const UNIX: u64 = 1;
    const INET: u64 = 2;
    const INET6: u64 = 10;
    const KIND: u64 = 0xF;
    const STREAM: u64 = 1;
    const DATAGRAM: u64 = 2;
    const TCP: u64 = 6;
    const UDP: u64 = 17;
    // Pings. The kernel has them as datagrams for ordinary users, and says itself to whom (`ping_group_range`).
    const ICMP: u64 = 1;
    const ICMPV6: u64 = 58;
    const PROTOCOLS_OF: [(u64, &[u64]); 2] = [(STREAM, &[TCP]), (DATAGRAM, &[UDP, ICMP, ICMPV6])];
    let net = !grants.hosts().is_empty();
    let unix = grants.any_socket() || !grants.sockets().is_empty();
    let socket = libc::SYS_socket;
    let mut families = Vec::new();
    families.extend(unix.then_some(UNIX));
    families.extend(net.then_some([INET, INET6]).into_iter().flatten());
    if families.is_empty() {
        rules.insert(socket, Vec::new());
        return Ok(());
    }
    let other = families.iter().map(|family| when(0, Is::Ne, *family));
    refuse(rules, socket, other.collect::<Built<_>>()?)?;
    if !net {
        return Ok(());
    }
    for kind in (0..=KIND).filter(|kind| ![STREAM, DATAGRAM].contains(kind)) {
        let kind = when(1, Is::MaskedEq(KIND), kind)?;
        refuse(rules, socket, vec![when(0, Is::Ne, UNIX)?, kind])?;
    }
    for (kind, protocols) in PROTOCOLS_OF {
        let mut other = vec![
            when(0, Is::Ne, UNIX)?,
            when(1, Is::MaskedEq(KIND), kind)?,
            when(2, Is::Ne, 0)?,
        ];
        for protocol in protocols {
            other.push(when(2, Is::Ne, *protocol)?);
        }
        refuse(rules, socket, other)?;
    }
    for (call, flags) in [
        (libc::SYS_sendto, 3),
        (libc::SYS_sendmsg, 2),
        (libc::SYS_sendmmsg, 3),
    ] {
        let fast = when(flags, Is::MaskedEq(MSG_FASTOPEN), MSG_FASTOPEN)?;
        refuse(rules, call, vec![fast])?;
    }
    Ok(())
}

fn processes(rules: &mut Rules, grants: &Grants, scoped: bool) -> Built<()> {
    let runs = !grants.runnable().is_empty();
    if runs {
        for namespace in NAMESPACES {
            let new = when(0, Is::MaskedEq(namespace), namespace)?;
            refuse(rules, libc::SYS_clone, vec![new])?;
        }
    } else {
        for number in NO_PROGRAMS.iter().chain(NO_PROGRAMS_HERE) {
            rules.insert(*number, Vec::new());
        }
        let process = when(0, Is::MaskedEq(CLONE_THREAD), 0)?;
        refuse(rules, libc::SYS_clone, vec![process])?;
    }
    for input in TERMINAL_INPUT {
        refuse(rules, libc::SYS_ioctl, vec![when(1, Is::Eq, input)?])?;
    }
    // Limits and scheduling of others: 0 is the caller itself.
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setattr,
    ] {
        refuse(rules, call, vec![when(0, Is::Ne, 0)?])?;
    }
    // Children have to be ended, so with programs only Landlock can tell whose processes they are.
    if !scoped && !runs {
        signals(rules)?;
    }
    Ok(())
}

/// Signals to others than this process and its group.
fn signals(rules: &mut Rules) -> Built<()> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let group = own.wrapping_neg();
    let number = |pid: i32| u64::from(pid.cast_unsigned());
    let other = |first: i32| -> Built<Vec<SeccompCondition>> {
        Ok(vec![
            when(0, Is::Ne, number(own))?,
            when(0, Is::Ne, number(first))?,
        ])
    };
    let mut kill = other(0)?;
    kill.push(when(0, Is::Ne, number(group))?);
    refuse(rules, libc::SYS_kill, kill)?;
    for call in [
        libc::SYS_tgkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
    ] {
        refuse(rules, call, vec![when(0, Is::Ne, number(own))?])?;
    }
    for call in [libc::SYS_tkill, libc::SYS_pidfd_send_signal] {
        rules.insert(call, Vec::new());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the search says to a number: `true`: refused.
    fn run(program: &[sock_filter], number: u32) -> bool {
        let mut at = 0;
        while let Some(now) = program.get(at) {
            at += 1;
            match now.code {
                JUMP_EQUAL => at += usize::from(if number == now.k { now.jt } else { now.jf }),
                JUMP_AT_LEAST => at += usize::from(if number >= now.k { now.jt } else { now.jf }),
                GO_ON => at += now.k as usize,
                _ => return true,
            }
        }
        false
    }

    #[test]
    fn the_search_finds_its_numbers_and_no_other() {
        for count in 0..100 {
            let numbers: Vec<u32> = (0..count).map(|number| number * 5 + 3).collect();
            let program = search(&numbers);
            for number in 0..600 {
                assert_eq!(
                    run(&program, number),
                    numbers.contains(&number),
                    "{number} of {count}"
                );
            }
        }
    }
}
