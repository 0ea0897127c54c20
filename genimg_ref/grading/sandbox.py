"""The outer walls around the answers, at three levels, and which of them this machine can have.

``sandbox``: bubblewrap. No network; no files but the interpreter, its packages and the worker's own, all
read-only; process and IPC namespaces, and a further set of them for each submission (see `inside.confine`).
``user``: no namespaces, but a user of its own; needs root. It can read whatever any user of the machine can.
``plain``: only limits. It can read and write whatever the person who grades can.
"""

import contextlib
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from genimg_ref.grading.inside import confine

PACKAGE = Path(__file__).parents[1]
# what the worker is made of; everything else of the package stays outside
INSIDE = [
    PACKAGE / "exercises" / "probe.py",
    *sorted((PACKAGE / "grading" / "inside").glob("*.py")),
]
LEVELS = ("sandbox", "user", "plain")
UNPRIVILEGED = 61_000  # and the numbers after it, one for each warm parent
SYSTEM = ("/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "USER": "student",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "MALLOC_ARENA_MAX": "2",  # or each thread would take 128 MB of address space
    "MPLBACKEND": "agg",
    "MPLCONFIGDIR": "/tmp",
    "TORCHINDUCTOR_CACHE_DIR": "/tmp",
    "TORCHDYNAMO_DISABLE": "1",  # there is no compiler, so that torch.compile gives back what it was given
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
}


class Unavailable(RuntimeError):
    """This machine cannot have the isolation that was asked for."""


def available(level: str) -> str:
    """Why this machine cannot have the level; empty if it can."""
    if level not in LEVELS:
        return f"there is no isolation level {level!r}; there are {', '.join(LEVELS)}"
    if not sys.platform.startswith("linux"):
        return "grading needs Linux: use a container or a virtual machine"
    if level == "user" and os.geteuid() != 0:
        return "only root can give the answers a user of their own"
    if level == "sandbox":
        return _no_bubblewrap()
    return ""


def _no_bubblewrap() -> str:
    if not shutil.which("bwrap"):
        return "bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap)"
    if not os.access(sys.executable, os.X_OK):
        return f"{sys.executable} leads to an interpreter that this user cannot read"
    trial = [*_walls(_readable()), *_closed(), "--", sys.executable, "-S", "-c", ""]
    done = subprocess.run(trial, capture_output=True, text=True, timeout=60)
    if done.returncode == 0:
        return ""
    return (
        f"bubblewrap cannot make namespaces here ({done.stderr.strip()}). Ubuntu 24.04 allows it after "
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0; Docker with --privileged"
    )


@contextlib.contextmanager
def worker_files() -> Iterator[Path]:
    """A folder with a copy of the worker's files, in which they can be imported by their usual names."""
    with tempfile.TemporaryDirectory(prefix="grading-") as folder:
        for file in INSIDE:
            target = Path(folder) / PACKAGE.name / file.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        for path in [Path(folder), *Path(folder).rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield Path(folder)


def command(level: str, files: Path, control: int) -> list[str]:
    """The command line of a warm parent that listens on the file ``control``."""
    inner = Path("/worker") if level == "sandbox" else files
    script = str(inner / PACKAGE.name / "grading" / "inside" / "worker.py")
    start = (
        f"import runpy, sys; sys.path[0] = {str(inner)!r}; runpy.run_path({script!r}, run_name='__main__')"
    )
    python = [sys.executable, "-c", start, str(control)]
    if level != "sandbox":
        return python
    return [*_walls(_readable()), "--ro-bind", str(files), "/worker", *_closed(), "--", *python]


def _walls(readable: list[str]) -> list[str]:
    """bubblewrap with everything shut but the paths in ``readable``.

    Root keeps the rights that a fork needs to wall itself in, before it becomes another user. Anybody else
    gets them in a user namespace, where they reach no further.
    """
    as_root = os.geteuid() == 0
    rights = ["CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_SYS_PTRACE", "CAP_SETPCAP"]
    binds = [argument for path in readable for argument in ("--ro-bind", path, path)]
    # bubblewrap would make the folders above them for root alone
    above = sorted(
        {str(folder) for path in [*readable, *DEVICES] for folder in Path(path).parents} - {"/", "/tmp"}
    )
    return [
        *(shutil.which("bwrap") or "bwrap", "--die-with-parent", "--new-session", "--clearenv"),
        *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *([] if as_root else ["--unshare-user", "--uid", "0", "--gid", "0"]),
        *("--cap-drop", "ALL"),
        *(argument for right in rights for argument in ("--cap-add", right)),
        *(argument for pair in ENVIRONMENT.items() for argument in ("--setenv", *pair)),
        *("--tmpfs", "/tmp"),
        *(argument for folder in above for argument in ("--perms", "0755", "--dir", folder)),
        *binds,
        *("--proc", "/proc"),
        *("--perms", "0755", "--dir", confine.STAGE),
        *(argument for device in DEVICES for argument in ("--dev-bind", device, device)),
    ]


def _closed() -> list[str]:
    """The package and its traces in the environment's packages are covered; then nothing can be added."""
    covered = []
    for folder in _package_folders():
        for path in folder.glob("*genimg_ref*"):
            nothing = ["--tmpfs", str(path), "--remount-ro", str(path)]
            covered += nothing if path.is_dir() else ["--ro-bind", "/dev/null", str(path)]
    return [*covered, "--remount-ro", "/", "--chdir", "/"]


def _readable() -> list[str]:
    """The interpreter, its packages and the libraries of the system; of nested folders the outermost."""
    base = Path(sys.base_prefix)
    wanted = [Path(path) for path in SYSTEM]
    wanted += [Path("/etc/ld.so.cache"), Path("/etc/localtime")]
    # an interpreter of the system lies under /usr among much else, of which only its libraries are needed
    wanted += [Path(sys.executable), Path(sys.executable).resolve()]
    wanted += [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    wanted += _package_folders()
    if sys.prefix != sys.base_prefix:
        wanted.append(Path(sys.prefix))
    if base not in (Path("/"), Path("/usr"), Path("/usr/local")):
        wanted.append(base)
    present = sorted({path for path in wanted if os.path.exists(path)})
    outermost = [path for path in present if not any(other in path.parents for other in present)]
    return [str(path) for path in outermost]


def below_tmp() -> list[str]:
    """What has to stay readable although it lies in ``/tmp``, which is another one for each fork."""
    return [path for path in _readable() if path.startswith("/tmp/")]


def _package_folders() -> list[Path]:
    folders = {*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return sorted(Path(folder) for folder in folders if Path(folder).is_dir())
