"""Answers that take time, memory, processes, disk or output without end, or leave something behind."""

from payloads import RIGHT_VALUE, doing, payload, returning

from genimg_ref.exercises.compare import Outcome as O

# --- Time ---------------------------------------------------------------------------------------------

payload("endless loop", doing("while True:\n    pass"), O.TIMED_OUT)
payload(
    "endless loop that ignores signals and errors",
    doing("""
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
    """),
    O.TIMED_OUT,
)
payload("endless loop inside C", doing("10 ** 10 ** 10"), O.TIMED_OUT, O.OUT_OF_MEMORY, O.RAISED)
payload("regular expression that explodes", doing("re.match('(a+)+$$', 'a' * 60 + 'b')"), O.TIMED_OUT)
payload("dead-lock", doing("lock = threading.Lock()\nlock.acquire()\nlock.acquire()"), O.TIMED_OUT)
payload("stopped by itself", doing("os.kill(os.getpid(), signal.SIGSTOP)\nsignal.pause()"), O.TIMED_OUT)
payload(
    "endless loop in a decorator",
    "def stay(f):\n    while True:\n        pass\n\n@stay" + returning("p_g"),
    O.TIMED_OUT,
)
payload(
    "thread that never ends, behind a right answer",
    doing(
        """
        def spin():
            while True:
                time.sleep(0.01)
        for daemon in (True, False):
            threading.Thread(target=spin, daemon=daemon).start()
        """,
        finally_=RIGHT_VALUE,
    ),
    O.RIGHT,
    right=True,
)
payload(
    "alarms in the worker's own code",
    doing("""
        def ring(*_):
            raise RuntimeError("ring")
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    """),
    O.WRONG_VALUE,
    O.RAISED,
    O.KILLED,
    O.FORBIDDEN,
    spares=False,
)
payload(
    "seconds for each call, and there are many",
    doing("time.sleep(1.2)", finally_=RIGHT_VALUE),
    O.TIMED_OUT,
    spares=False,
)

# --- Memory -------------------------------------------------------------------------------------------

payload("memory in one piece", doing("x = bytearray(3 << 30)"), O.OUT_OF_MEMORY)
payload("memory in one piece, as a tensor", doing("x = torch.ones(1 << 30)"), O.OUT_OF_MEMORY, O.RAISED)
payload(
    "memory in chunks",
    doing("x = []\nwhile True:\n    x.append(b'x' * (1 << 20))"),
    O.OUT_OF_MEMORY,
)
payload(
    "memory in chunks, whatever the error",
    doing("""
        x = []
        while True:
            try:
                x.append(torch.ones(1 << 18))
            except BaseException:
                pass
    """),
    O.OUT_OF_MEMORY,
    O.TIMED_OUT,
)
payload(
    "memory of many children",
    doing("""
        for _ in range(6):
            if os.fork() == 0:
                x = bytearray(b"x") * (300 << 20)
                time.sleep(600)
        time.sleep(600)
    """),
    O.OUT_OF_MEMORY,
)
payload(
    "memory shared between children",
    doing("""
        for _ in range(6):
            shared = mmap.mmap(-1, 300 << 20)
            if os.fork() == 0:
                for _ in range(300):
                    shared.write(b"x" * (1 << 20))
                time.sleep(600)
            shared.close()
        time.sleep(600)
    """),
    O.OUT_OF_MEMORY,
    O.KILLED,
)

# --- Processes ----------------------------------------------------------------------------------------

STRAY = """
def stray():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (1, 2, 3, 13, 14, 15):
                signal.signal(number, signal.SIG_IGN)
            command = [sys.executable, "-c", "import time\\nwhile True: time.sleep(600)", "$marker"]
            os.execv(sys.executable, command)
        os._exit(0)
"""
payload("daemon behind a right answer", doing("stray()", STRAY, RIGHT_VALUE), O.RIGHT, right=True)
payload("daemon behind a crash", doing("stray()\ntime.sleep(0.1)\nos._exit(0)", STRAY), O.KILLED)
payload(
    "child behind a right answer",
    doing(
        "command = [sys.executable, '-c', 'import time; time.sleep(600)', '$marker']\n"
        "subprocess.Popen(command, start_new_session=True)",
        finally_=RIGHT_VALUE,
    ),
    O.RIGHT,
    right=True,
)
payload(
    "child that goes on to answer for its parent",
    doing("""
        if os.fork() == 0:
            time.sleep(0.05)
            return torch.ones_like(p_data)
    """),
    O.WRONG_VALUE,
    O.FORBIDDEN,
    O.KILLED,
    spares=False,
)
payload(
    "fork bomb",
    doing("while True:\n    os.fork()"),
    O.TOO_MANY_PROCESSES,
    O.OUT_OF_MEMORY,
    O.TIMED_OUT,
    O.RAISED,
    O.FORBIDDEN,
    O.KILLED,
)
payload(
    "fork bomb of daemons",
    doing("""
        def breed():
            while True:
                try:
                    if os.fork() == 0:
                        os.setsid()
                except BaseException:
                    pass
        breed()
    """),
    O.TIMED_OUT,
    O.TOO_MANY_PROCESSES,
    O.OUT_OF_MEMORY,
)
payload(
    "thread bomb",
    doing("while True:\n    threading.Thread(target=time.sleep, args=(600,)).start()"),
    O.TOO_MANY_PROCESSES,
    O.RAISED,
)
payload(
    "kill everything that can be seen",
    doing("os.kill(-1, signal.SIGKILL)"),
    O.WRONG_VALUE,
    O.KILLED,
    O.RAISED,
)
payload("kill the first process", doing("os.kill(1, signal.SIGKILL)"), O.WRONG_VALUE, O.KILLED, O.RAISED)
payload(
    "kill the parent and its group",
    doing("""
        for target in (os.getppid(), -os.getpgid(0), 0, os.getpid()):
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.kill(target, number)
                except OSError:
                    pass
    """),
    O.WRONG_VALUE,
    O.KILLED,
    O.RAISED,
)

# --- Files and output ---------------------------------------------------------------------------------

payload(
    "a million files",
    doing("for k in range(1_000_000):\n    open(os.path.join(os.path.expanduser('~'), str(k)), 'w').close()"),
    O.RAISED,
    O.TOO_LARGE_FILE,
)
payload(
    "a huge file",
    doing("with open('huge', 'wb') as file:\n    while True:\n        file.write(b'x' * (1 << 20))"),
    O.TOO_LARGE_FILE,
)
payload(
    "many large files",
    doing("""
        for k in range(1000):
            with open(f"large{k}", "wb") as file:
                file.write(b"x" * (1 << 20))
    """),
    O.RAISED,
    O.TOO_LARGE_FILE,
    O.OUT_OF_MEMORY,
)
payload("output without end", doing("while True:\n    print('x' * 1000)"), O.TOO_MUCH_OUTPUT)
payload(
    "output without end, from a child and on the other stream",
    doing("if os.fork() == 0:\n    while True:\n        os.write(2, b'x' * 4096)\ntime.sleep(600)"),
    O.TOO_MUCH_OUTPUT,
)
payload(
    "output while it is being defined",
    "X = [print('x' * 1000) for _ in range(10**7)]\n" + returning("X"),
    O.TOO_MUCH_OUTPUT,
)
payload("input", doing("input('points? ')"), O.RAISED)
