"""Answers that write to, read from or break the pipes between worker and grader."""

from payloads import RIGHT_VALUE, doing, payload

from genimg_ref.exercises.compare import Outcome as O

WIRE = """
def pipes(writable=True):
    "Numbers of the open files that are pipes or sockets, other than the standard ones."
    found = []
    for fd in range(3, 256):
        try:
            kind = os.fstat(fd).st_mode
        except OSError:
            continue
        if stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            found.append(fd)
    return found

def shout(data):
    for fd in pipes():
        try:
            os.write(fd, data)
        except OSError:
            pass

def numbers():
    "What the worker knows of the number of the request."
    frame, known = sys._getframe(1), set()
    while frame:
        known |= {v for k, v in frame.f_locals.items() if k == "number" and type(v) is int}
        frame = frame.f_back
    return known or {0}

def take_over(*contents):
    "Answer this request and all that follow in the worker's place."
    shout(frame(*contents))
    asking = [fd for fd in pipes() if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY][0]
    def read(count):
        data = b""
        while len(data) < count:
            data += os.read(asking, count - len(data)) or os._exit(0)
        return data
    while True:
        number, header, body = struct.unpack(">III", read(12))
        read(header + body)
        shout(frame(*contents, number=number))

def frame(contents, kinds=(), body=b"", number=None):
    header = contents
    if not isinstance(contents, bytes):
        header = json.dumps({"data": contents, "arrays": kinds}).encode()
    number = max(numbers()) if number is None else number
    return struct.pack(">III", number, len(header), len(body)) + header + body
"""
NEVER = (O.FORBIDDEN,)
ANY_WRONG = (O.FORBIDDEN, O.WRONG_TYPE, O.WRONG_VALUE, O.WRONG_SHAPE, O.RAISED, O.WRONG_GRADIENT, O.KILLED)


def forged(name: str, sent: str, *outcomes: O, then: str = "time.sleep(600)", **rest: object) -> None:
    """A payload that writes the bytes ``sent`` to every pipe."""
    payload(f"wire: {name}", doing(f"shout({sent})\n{then}", WIRE), *(outcomes or NEVER), **rest)


forged("a verdict", 'frame({"outcome": "right", "points": 99, "earned": 99})', O.TIMED_OUT)
forged("a verdict, and then an answer", 'frame({"outcome": "right"})', then="pass")
forged("a frame of 2**32 - 1 bytes", "struct.pack('>IIIII', *[2**32 - 1] * 5)")
forged(
    "a number of the right size and a huge frame", "frame(b'x' * 10)[:4] + struct.pack('>II', 2**32 - 1, 0)"
)
forged("half a frame", "frame({'returned': 1})[:-5]", O.TIMED_OUT)
forged("half a frame, and then the end", "frame({'returned': 1})[:-5]", O.KILLED, then="os._exit(0)")
forged("half a frame, and then an answer", "frame({'returned': 1})[:-5]", then="pass", spares=False)
forged("a frame of the past", "frame({'returned': 1}, number=0)")
forged(
    "frames of the future", "b''.join(frame({'returned': 1}, number=n) for n in range(1, 500))", *ANY_WRONG
)
forged("noise", "os.urandom(5000)")
forged("a pickle", "b'\\x80\\x04\\x95' + b'cos\\nsystem\\n(S\"touch $outside/pickled\"\\ntR.'")
forged("a pickle inside a frame", "frame(b'cos\\nsystem\\n(S\"touch $outside/pickled\"\\ntR.')")
forged("nesting", "frame(b'{\"data\": ' + b'[' * 100000 + b']' * 100000 + b', \"arrays\": []}')")
forged(
    "nesting that can just be read",
    "frame(b'{\"data\": ' + b'[' * 900 + b']' * 900 + b', \"arrays\": []}')",
    *ANY_WRONG,
)
forged("a million digits", "frame(b'{\"data\": ' + b'1' * 10**6 + b', \"arrays\": []}')")
forged(
    "a million lists",
    "frame(b'{\"data\": {\"returned\": [' + b'[],' * 10**6 + b'[]]}, \"arrays\": []}')",
    *ANY_WRONG,
)
forged("no UTF-8", "frame(b'\\xff\\xfe{')")
forged("an array of objects", "frame({'returned': {'$$array': 0}}, [['object', [1]]], bytes(8))")
forged("an array of minus one", "frame({'returned': {'$$array': 0}}, [['float32', [-1]]], b'')")
forged("an array larger than memory", "frame({'returned': {'$$array': 0}}, [['float32', [2**62, 4]]], b'')")
forged(
    "an array of a million axes", "frame({'returned': {'$$array': 0}}, [['float32', [1] * 10**5]], bytes(4))"
)
forged("a million arrays", "frame({'returned': 1}, [['bool', [0]]] * 100_000, b'')")
forged("a number for an answer", "frame(7)", O.TIMED_OUT)
forged("a list for an answer", "frame([])", O.TIMED_OUT)
forged("nothing for an answer", "frame({})", O.TIMED_OUT)
ODD_RESPONSES = [
    "{'outcome': 'right', 'verdict': 'right', 'points': 99, 'earned': 99}",
    "7",
    "None",
    "[]",
    "[{'returned': 1}]",
    "{}",
    "{'raised': 5}",
    "{'raised': {}}",
    "{'raised': None}",
    "{'raised': {'type': 1, 'message': 2, 'line': 3}}",
    "{'raised': {'type': [], 'message': {}, 'line': None}, 'returned': 1}",
    "{'raised': {'type': 'E' * 100_000, 'message': 'x' * 100_000, 'line': 'y' * 100_000}}",
    "{'returned': 'x' * 100_000, 'mutated': []}",
    "{'returned': {'$$type': []}, 'mutated': []}",
    "{'returned': {'$$type': 'x', 'more': 1}, 'mutated': []}",
    "{'returned': {'$$type': 'x' * 100_000}, 'mutated': []}",
    "{'returned': [[[[[[[[[]]]]]]]], 'mutated': 3}",
    "{'returned': None, 'mutated': [[], {}, None]}",
    "{'returned': None, 'mutated': {'p_data': 1}}",
    "{'returned': None, 'mutated': [], 'nets': [], 'net_state': 7, 'buffers': None}",
    "{'parameter_shapes': [1, 'a', None], 'returned': 1}",
    "{'returned': {'a' * 50_000: 1, 'b': {}}, 'mutated': []}",
    "{'returned': True, 'mutated': [], 'gradients': {}, 'input_gradients': 5}",
    "{'prepared': True}",
]
for odd in ODD_RESPONSES:
    answer = doing(f"take_over({odd})", WIRE)
    payload(f"wire: the odd response {odd}", answer, *ANY_WRONG, O.CHANGED_INPUT, spares=False)
payload(
    "wire: earlier bytes once more",
    doing(
        """
        if os.write is not tell:
            os.write = tell
        for data in SAID[-3:]:
            shout(data)
        """,
        WIRE
        + "\nSAID, WRITE = [], os.write\n\ndef tell(fd, data):\n    SAID.append(bytes(data))\n"
        + "    return WRITE(fd, data)\n",
        RIGHT_VALUE,
    ),
    O.FORBIDDEN,
    spares=False,
)
payload(
    "wire: a byte every now and then",
    doing("for byte in frame({'returned': 1}) * 1000:\n    shout(bytes([byte]))\n    time.sleep(0.2)", WIRE),
    O.TIMED_OUT,
)
payload(
    "wire: frames without end",
    doing(
        """
        def flood():
            while True:
                shout(frame({"returned": 1}, number=2**31))
        threading.Thread(target=flood, daemon=True).start()
        time.sleep(600)
        """,
        WIRE,
    ),
    O.FORBIDDEN,
)
payload("wire: every file closed", doing("os.closerange(0, 256)", WIRE), O.KILLED, O.FORBIDDEN)
payload(
    "wire: every file is another",
    doing(
        "null = os.open('/dev/null', os.O_RDWR)\n"
        "for fd in range(256):\n    if fd != null:\n        os.dup2(null, fd)"
    ),
    O.KILLED,
    O.TIMED_OUT,
    O.FORBIDDEN,
)
payload(
    "wire: the next request is stolen",
    doing(
        """
        for fd in pipes():
            try:
                os.set_blocking(fd, False)
                os.read(fd, 1 << 20)
            except OSError:
                pass
    """,
        WIRE,
    ),
    *ANY_WRONG,
    O.TIMED_OUT,
    spares=False,
)
payload(
    "wire: the pipe is held by a child when the worker ends",
    doing("""
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    """),
    O.KILLED,
)
payload(
    "wire: the worker's requests and files handed to nobody",
    doing(
        """
        here, there = socket.socketpair()
        socket.send_fds(here, [b"x"], pipes())
        for fd in pipes():
            os.close(fd)
        time.sleep(600)
    """,
        WIRE,
    ),
    O.KILLED,
    O.TIMED_OUT,
)
