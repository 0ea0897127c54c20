"""Answers that look for what they should not find; each says in its error what it found."""

import textwrap

from payloads import payload

from genimg_ref.exercises.compare import Outcome as O


def spying(name: str, body: str, looks: bool = False) -> None:
    """A payload that fills the list ``found``, once, and says in an error what is in it."""
    look = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    code = f"""
@functools.cache
def look():
    found = []
{look}
    return ", ".join(map(str, found)) or "nothing"

def optimal_discriminator(p_data, p_g):
    raise RuntimeError("found " + look())
"""
    payload(f"look for {name}", [code], O.RAISED, says="found nothing", patient=True, looks=looks)


spying(
    "solutions, other submissions, reports and the rest of the disk",
    """
    inside = ("", "/solutions", "/solutions/gan_math.py", "/.git", "/genimg_ref", "/pyproject.toml")
    wanted = ["$root" + path for path in inside] + ["$outside", "$outside/reports", "$outside/bob.ipynb"]
    wanted += ["/root", "/home", "/var", "/sys", "/run", "/mnt", "/boot", "/srv", "/opt"]
    wanted += ["/etc/shadow", "/etc/passwd", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]
    allowed = {part for path in (sys.prefix, sys.base_prefix, torch.__file__) for part in path.split("/")}
    for path in wanted:
        try:
            seen = set(os.listdir(path)) - allowed if os.path.isdir(path) else open(path, "rb").read(1)
            found += [path] if seen else []
        except OSError:
            pass
    """,
    looks=True,
)
spying(
    "the reference by its files",
    """
    names = {"gan_math", "dcgan", "gan_math.py", "dcgan.py", "divergences.py", "solutions",
             "gan_math.ipynb", "dcgan.ipynb", "bob.ipynb", "mutants.py", "grade.py", "genimg_ref.pth"}
    for folder, folders, files in os.walk("/"):
        for name in folders + files:
            path = os.path.join(folder, name)
            mine = "genimg_ref" in name and not path.startswith("/worker")
            if name in names and "/torch/" not in path and "/sympy/" not in path or mine:
                try:
                    if os.path.getsize(path) and (not os.path.isdir(path) or os.listdir(path)):
                        found.append(path)
                except OSError:
                    pass
    """,
    looks=True,
)
spying(
    "the reference by import",
    """
    import importlib
    for attempt in (1, 2):
        for name in ("genimg_ref", "genimg_ref.gan", "genimg_ref.gan.divergences", "genimg_ref.grading.grade",
                     "genimg_ref.exercises.gan_math", "genimg_ref.exercises.engine", "solutions.gan_math"):
            for root in (None, "$root", "$root/solutions"):
                try:
                    if root:
                        sys.path.insert(0, root)
                    module = importlib.import_module(name)
                    if getattr(module, "__file__", None):
                        found.append(name)
                except BaseException:
                    pass
        for name in [name for name in sys.modules if name.startswith("genimg_ref")]:
            del sys.modules[name]
    """,
)
spying(
    "processes",
    """
    found += [name for name in os.listdir("/proc") if name.isdigit()] if os.path.isdir("/proc") else []
    for path in ("/proc/self/mem", "/proc/1/environ", "/proc/1/mem", f"/proc/{os.getppid()}/maps",
                 "/proc/self/fd", "/proc/self/maps", "/proc/kcore", "/proc/1/root", "/proc/thread-self/mem"):
        try:
            os.listdir(path) if path.endswith(("fd", "root")) else open(path, "rb").read(1)
            found.append(path)
        except OSError:
            pass
    for pid in range(1, 5000):
        try:
            os.kill(pid, 0)
            found += [pid] if pid != os.getpid() else []
        except OSError:
            pass
    """,
    looks=True,
)
spying(
    "forbidden system calls",
    """
    libc = ctypes.CDLL(None, use_errno=True)
    room, was = ctypes.create_string_buffer(4096), os.getuid()
    calls = {
        "ptrace the parent": lambda: libc.ptrace(16, os.getppid(), 0, 0),
        "ptrace traceme": lambda: libc.ptrace(0, 0, 0, 0),
        "new user namespace": lambda: libc.unshare(0x10000000),
        "new mount namespace": lambda: libc.unshare(0x20000),
        "new network namespace": lambda: libc.unshare(0x40000000),
        "setns": lambda: libc.setns(0, 0),
        "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
        "remount": lambda: libc.mount(b"none", b"/", None, 0x1020, None),
        "umount /proc": lambda: libc.umount2(b"/proc", 2),
        "umount /tmp": lambda: libc.umount2(b"/tmp", 2),
        "chroot": lambda: libc.chroot(b"/tmp"),
        "pivot_root": lambda: libc.syscall(155, b"/tmp", b"/tmp"),
        "shmget": lambda: -1 if libc.shmget(0, 4096, 0o1600) < 0 else 0,
        "memfd_create": lambda: -1 if libc.memfd_create(b"x", 0) < 0 else 0,
        "setuid 0": lambda: libc.setuid(0) or -(was == 0),
        "setresuid 0": lambda: libc.setresuid(0, 0, 0) or -(was == 0),
        "setgroups": lambda: libc.setgroups(1, ctypes.byref(ctypes.c_int(0))),
        "sethostname": lambda: libc.sethostname(b"x", 1),
        "keep capabilities": lambda: libc.prctl(8, 1, 0, 0, 0) or -1,
        "ambient capabilities": lambda: libc.prctl(47, 2, 21, 0, 0),
        "device": lambda: libc.mknod(b"/tmp/memory", 0o020666, 0x101),
        "higher priority": lambda: -1 if libc.nice(-5) == -1 else 0,
        "real-time": lambda: libc.sched_setscheduler(0, 1, ctypes.byref(ctypes.c_int(1))),
        "settimeofday": lambda: libc.settimeofday(room, None),
        "reboot": lambda: libc.reboot(0),
        "swapoff": lambda: libc.swapoff(b"/"),
        "fanotify": lambda: -1 if libc.fanotify_init(0, 0) < 0 else 0,
    }
    if os.uname().machine == "x86_64":
        numbers = {"process_vm_readv": 310, "add_key": 248, "keyctl": 250, "bpf": 321, "perf_event_open": 298,
                   "io_uring_setup": 425, "userfaultfd": 323, "pidfd_getfd": 438, "kcmp": 312, "syslog": 103,
                   "open_tree": 428, "fsopen": 430, "memfd_secret": 447, "mq_open": 240, "msgget": 68}
        for name, number in numbers.items():
            arguments = {"process_vm_readv": (os.getppid(), room, 0, room, 0, 0), "keyctl": (0, -3, 1)}
            given = arguments.get(name, (0, 0, 0))
            calls[name] = lambda n=number, given=given: min(libc.syscall(n, *given), 0)
        new_user = struct.pack("Q", 0x10000000) + bytes(80)
        calls["clone3 with a user namespace"] = lambda: min(libc.syscall(435, new_user, len(new_user)), 0)
        def clone():
            pid = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
            return os._exit(0) if pid == 0 else min(pid, 0)
        calls["clone with a user namespace"] = clone
    for name, attempt in calls.items():
        try:
            found += [name] if attempt() == 0 else []
        except AttributeError:
            pass
    held = (ctypes.c_uint32 * 6)()
    libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), held)
    found += [f"capabilities {list(map(hex, held))}"] if any(held) else []
    # what root of a namespace runs would get all capabilities, but for the walls
    ask = "import ctypes; h = (ctypes.c_uint32 * 6)(); c = ctypes.CDLL(None)\\n"
    ask += "c.capget((ctypes.c_uint32 * 2)(0x20080522, 0), h); print(any(h) or c.unshare(0x20000) == 0)"
    answer = subprocess.run([sys.executable, "-S", "-c", ask], capture_output=True, text=True)
    found += [] if answer.stdout == "False\\n" else [f"capabilities of a child {answer}"]
    """,
)
spying(
    "secrets in the environment and in memory",
    """
    # the word is never put together here, or this would find itself
    first, last = "$secret"[:11:-1], "$secret"[11::-1]
    found += [name for name, value in os.environ.items() if first in name + value]
    telling = ("CI", "GITHUB", "GENIMG", "SSH", "AWS", "VIRTUAL")
    found += [name for name in os.environ if name.startswith(telling)]
    for thing in gc.get_objects():
        inner = thing if type(thing) in (list, tuple) else ()
        inner = [*thing, *thing.values()] if type(thing) is dict else inner
        found += ["memory" for x in inner if type(x) is str and first in x and last in x]
    # the heap itself, by way of a pipe: a write from an address that is not there is an error, not a crash
    libc, first, last = ctypes.CDLL(None), first.encode(), last.encode()
    read, write = os.pipe()
    looked = 0
    for start in sorted({id(x) >> 20 for x in gc.get_objects()}):
        for page in range(start << 20, (start + 1) << 20, 4096):
            size = libc.write(write, ctypes.c_void_p(page), ctypes.c_size_t(4096))
            parts = os.read(read, size).split(first) if size > 0 else []
            looked += size > 0
            found += [hex(page) for part in parts[1:] if part.startswith(last)]
    found += [] if looked > 1000 else ["too little memory"]
    """,
)
spying(
    "a network",
    """
    stream, datagram = socket.SOCK_STREAM, socket.SOCK_DGRAM
    targets = [(socket.AF_INET, stream, ("127.0.0.1", $port)), (socket.AF_INET6, stream, ("::1", $port)),
               (socket.AF_INET, stream, ("1.1.1.1", 53)), (socket.AF_INET, datagram, ("127.0.0.1", $port)),
               (socket.AF_UNIX, stream, "\\0$socket"), (socket.AF_UNIX, stream, "$outside/socket")]
    for family, kind, address in targets:
        try:
            with socket.socket(family, kind) as out:
                out.settimeout(0.2)
                out.connect(address)
                if kind == stream:
                    found.append(address)
                else:
                    out.send(b"hello")
        except OSError:
            pass
    for family in ("AF_PACKET", "AF_VSOCK", "AF_BLUETOOTH"):
        try:
            socket.socket(getattr(socket, family), socket.SOCK_RAW).close()
            found.append(family)
        except (OSError, AttributeError):
            pass
    try:
        socket.gethostbyname("pypi.org")
        found.append("names of hosts")
    except OSError:
        pass
    """,
)
spying(
    "places to write to",
    """
    for folder, folders, files in os.walk("/"):
        if folder in ("/tmp", os.getcwd()):
            folders.clear()
            continue
        try:
            os.close(os.open(os.path.join(folder, "$marker"), os.O_CREAT | os.O_WRONLY))
            found.append(folder)
        except OSError:
            pass
        for name in files[:20]:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and os.access(path, os.W_OK):
                found.append(path)
    """,
)
spying(
    "places to write to, by name",
    """
    site = os.path.dirname(os.path.dirname(torch.__file__))
    own = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
    targets = ["$outside/reports/grades.csv", "$outside/bob.ipynb", "$outside/new"]
    targets += ["$root/solutions/gan_math.py", "$root/solutions/new.py", site + "/sitecustomize.py"]
    targets += ["/worker/evil.py", *own[:200]]
    for path in targets:
        for attempt in (lambda: open(path, "ab").close(), lambda: os.unlink(path), lambda: os.utime(path),
                        lambda: os.rename(path, path + "x"), lambda: os.chmod(path, 0o777),
                        lambda: os.symlink("/etc", path)):
            try:
                attempt()
                found.append(path)
            except OSError:
                pass
    """,
)
spying(
    "files that were left open",
    """
    for fd in range(3, 1024):
        try:
            kind = os.fstat(fd).st_mode
        except OSError:
            continue
        found += [] if stat.S_ISFIFO(kind) else [fd]
        for path in (".", "..", "etc"):
            try:
                os.close(os.open(path, os.O_RDONLY, dir_fd=fd))
                found.append(f"{fd}/{path}")
            except OSError:
                pass
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        found.append("a terminal")
    except OSError:
        pass
    """,
)
spying(
    "limits that can be raised",
    """
    for name in ("AS", "NPROC", "FSIZE", "NOFILE", "CPU", "CORE"):
        kind = getattr(resource, "RLIMIT_" + name)
        soft, hard = resource.getrlimit(kind)
        for wanted in (hard + 1, resource.RLIM_INFINITY):
            try:
                resource.setrlimit(kind, (wanted, wanted))
                found += [name] if hard not in (-1, wanted) else []
            except (OSError, ValueError):
                pass
        found += [name + " has none"] if hard == resource.RLIM_INFINITY else []
    """,
)
