"""The inner walls: what a process gives up before it runs a student's code.

The outer walls are bubblewrap's (see `grading.sandbox`): no network, few files, all of them read-only. Inside
them one process has imported torch, once; each submission runs in a fork of it, and a fork has to be kept
from that process and from the next fork. So it gets process, mount and IPC namespaces of its own, an empty
``/tmp`` and no ``/proc``; then it gives up its privileges and its right to call what could bring them back.
"""

import contextlib
import ctypes
import errno
import os
import resource
from collections.abc import Iterator
from typing import Any

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWUSER = 0x20000, 0x08000000, 0x20000000, 0x10000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    0x1000,
    0x2000,
    0x4000,
    0x40000,
)
STAGE = "/stage"  # an empty folder
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 4, 24, 36, 38
CAPABILITIES = 64
SCMP_ALLOW, SCMP_ERRNO, SCMP_MASKED_EQUAL = 0x7FFF0000, 0x00050000, 7
# Calls that could lead out of the walls, look through them, or hold memory that no limit counts.
FORBIDDEN_CALLS = [
    *(
        "unshare",
        "setns",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsconfig",
        "fsmount",
        "fspick",
        "mount_setattr",
    ),
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp"),
    *(
        "add_key",
        "keyctl",
        "request_key",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
    ),
    *("memfd_create", "memfd_secret", "shmget", "shmat", "msgget", "semget", "mq_open", "quotactl"),
]

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def new_process_namespace() -> None:
    """The next child, and all that come of it, will live in a process namespace of its own."""
    _check(_libc.unshare(CLONE_NEWPID), "unshare")


def back_to_process_namespace(fd: int) -> None:
    """Children after this one will live in the namespace behind ``fd`` again."""
    _check(_libc.setns(fd, CLONE_NEWPID), "setns")


def adopt_orphans() -> None:
    """Children of children that end are given to this process, and so can be found."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def hide_files(megabytes: int, kept: list[str]) -> None:
    """A mount namespace of one's own, in which ``/tmp`` is small and there is no ``/proc``.

    ``/tmp`` is empty, but for those paths in it that are ``kept``, since the interpreter lies there.
    """
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWIPC), "unshare")
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")
    options = f"size={megabytes}m,nr_inodes=4096,mode=1777".encode()
    _check(_libc.mount(b"tmpfs", STAGE.encode(), b"tmpfs", MS_NOSUID | MS_NODEV, options), "mount /tmp")
    for path in kept:
        target = STAGE + path.removeprefix("/tmp")
        previous = os.umask(0o022)
        os.makedirs(target if os.path.isdir(path) else os.path.dirname(target), exist_ok=True)
        os.umask(previous)
        if not os.path.isdir(path):
            os.close(os.open(target, os.O_CREAT, 0o644))
        _check(_libc.mount(path.encode(), target.encode(), None, MS_BIND | MS_REC, None), f"bind {path}")
    _check(_libc.mount(STAGE.encode(), b"/tmp", None, MS_MOVE, None), "move /tmp")
    nothing = (b"tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, b"size=4k,mode=0555")
    _check(_libc.mount(b"tmpfs", b"/proc", *nothing), "mount /proc")


def limit(limits: dict[str, Any]) -> None:
    """Bounds on memory (beyond what the process has already), processor time, processes and files."""
    megabytes = 1 << 20
    bounds = {
        resource.RLIMIT_AS: own_address_space() + limits["memory_mb"] * megabytes,
        resource.RLIMIT_CPU: limits["cpu_seconds"],
        resource.RLIMIT_NPROC: limits["processes"] + (own_threads() if limits["level"] == "plain" else 0),
        resource.RLIMIT_FSIZE: limits["file_mb"] * megabytes,
        resource.RLIMIT_NOFILE: 128,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for kind, bound in bounds.items():
        _, hard = resource.getrlimit(kind)
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (allowed, allowed))


def own_address_space() -> int:
    """Bytes of address space that this process has mapped."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def own_threads() -> int:
    """Threads that run under this user's name; the limit on processes counts them all."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def drop_privileges(user: int | None) -> None:
    """Become ``user``, or stay who one is, and give up every capability, for good."""
    for capability in range(CAPABILITIES):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails beyond the last there is
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    _check(_libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


class _Comparison(ctypes.Structure):
    _fields_ = [
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    ]


def forbid_calls() -> None:
    """Refuse `FORBIDDEN_CALLS` and new user namespaces with EPERM, through libseccomp."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_void_p,
    ]
    library.seccomp_load.argtypes = library.seccomp_release.argtypes = [ctypes.c_void_p]
    rules = library.seccomp_init(SCMP_ALLOW)
    number = library.seccomp_syscall_resolve_name
    refuse = SCMP_ERRNO | errno.EPERM
    for name in FORBIDDEN_CALLS:
        if number(name.encode()) >= 0:  # the others do not exist on this processor
            library.seccomp_rule_add_array(rules, refuse, number(name.encode()), 0, None)
    # where clone3 is missing the C library uses clone, whose flags a filter can read
    library.seccomp_rule_add_array(rules, SCMP_ERRNO | errno.ENOSYS, number(b"clone3"), 0, None)
    flags = _Comparison(0, SCMP_MASKED_EQUAL, CLONE_NEWUSER, CLONE_NEWUSER)
    library.seccomp_rule_add_array(rules, refuse, number(b"clone"), 1, ctypes.byref(flags))
    failed = library.seccomp_load(rules)
    library.seccomp_release(rules)
    if failed:
        raise OSError(-failed, f"seccomp: {os.strerror(-failed)}")


def keep_only(*fds: int) -> None:
    """Close every other file but the standard ones."""
    previous = 2
    for fd in sorted({*fds}):
        if previous + 1 < fd:  # an empty range that begins at 0 would be all of them
            os.closerange(previous + 1, fd)
        previous = fd
    os.closerange(previous + 1, 1 << 16)


def first_victim() -> None:
    """Should memory run out all the same, the system ends this process before any other."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def processes() -> Iterator[tuple[int, int]]:
    """Every process that can be seen, with its parent."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            yield int(name), int(fields[1])


def descendants(ancestor: int) -> set[int]:
    """The processes that come of ``ancestor``, at any remove."""
    parents = dict(processes())
    found: set[int] = set()
    while True:
        more = {pid for pid, parent in parents.items() if parent in found | {ancestor}} - found
        if not more:
            return found
        found |= more


def own_memory(pid: int) -> int:
    """Bytes that a process has written to and shares with nobody, and that it shares by intent."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            kilobytes = {line.split(":")[0]: line.split()[1] for line in file if "kB" in line}
    except OSError:
        return 0
    return 1024 * (int(kilobytes["Private_Dirty"]) + int(kilobytes.get("Pss_Shmem", 0)))
