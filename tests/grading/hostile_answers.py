"""Answers that lie about what they are, bribe the judge, or misbehave as classes do."""

from payloads import HONEST, RIGHT_VALUE, doing, payload, returning

from genimg_ref.exercises.compare import Outcome as O

# --- What is returned is not what it seems ------------------------------------------------------------

LIAR = """
class Liar:
    shape, dtype, ndim, size, device = (7,), torch.float32, 1, 7, torch.device("cpu")
    requires_grad = False
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = lambda self, other: True
    __hash__ = lambda self: 0
    __bool__ = lambda self: True
    __len__ = lambda self: 7
    __float__ = lambda self: 0.5
    __index__ = __int__ = lambda self: 1
    __getitem__ = lambda self, index: self
    __iter__ = lambda self: iter([self] * 7)
    __getattr__ = lambda self, name: (lambda *a, **k: self)
    __call__ = lambda self, *a, **k: self
    __sub__ = __rsub__ = __add__ = __radd__ = __mul__ = __rmul__ = __abs__ = lambda self, *other: self
"""
payload("equals everything", returning("Liar()", LIAR), O.WRONG_TYPE)
payload(
    "equals everything and calls itself a tensor",
    returning(
        "Impostor()", LIAR + "\nclass Impostor(Liar):\n    __class__ = property(lambda self: Tensor)\n"
    ),
    O.WRONG_TYPE,
    O.RAISED,
)
payload(
    "tensor subclass that answers for every function",
    returning(
        "torch.zeros_like(p_data).as_subclass(Yes)",
        """
        class Yes(Tensor):
            @classmethod
            def __torch_function__(cls, function, types, args=(), kwargs=None):
                if function.__name__ in ("eq", "equal", "allclose", "isclose", "__eq__", "all", "__bool__"):
                    return True
                return super().__torch_function__(function, types, args, kwargs or {})
        """,
    ),
    O.WRONG_VALUE,
)
payload(
    "tensor subclass whose detach gives an object that equals everything",
    returning(
        "torch.zeros_like(p_data).as_subclass(Yes)",
        LIAR
        + """
class Yes(Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return Liar()
""",
    ),
    O.WRONG_TYPE,
    O.RAISED,
)
payload(
    "tensor subclass that hides its size",
    returning(
        "torch.zeros(1).expand(10**13).as_subclass(Small)",
        """
        class Small(Tensor):
            shape = property(lambda self: torch.Size([7]))
            def numel(self):
                return 7
            def size(self, *a):
                return torch.Size([7])
        """,
    ),
    O.OUT_OF_MEMORY,
    O.RAISED,
    O.WRONG_TYPE,
)
payload(
    "array subclass that equals everything",
    returning(
        "np.zeros(7, 'float32').view(Yes)",
        """
        class Yes(np.ndarray):
            __eq__ = __ne__ = lambda self, other: np.True_
            def __array_ufunc__(self, *a, **k):
                return np.True_
            def __array_function__(self, *a, **k):
                return True
        """,
    ),
    O.WRONG_TYPE,
)
payload(
    "NumPy scalar whose item is an object that equals everything",
    returning("Scalar(1)", LIAR + "\nclass Scalar(np.float32):\n    item = lambda self: Liar()\n"),
    O.WRONG_TYPE,
)
payload(
    "object with __array__",
    returning(
        "Arrayed()", "class Arrayed:\n    def __array__(self, *a, **k):\n        return np.zeros(7, 'f')"
    ),
    O.WRONG_TYPE,
)
payload("generator", returning("(x for x in p_data)"), O.WRONG_TYPE)
payload(
    "dictionary with keys of all kinds",
    returning("{1: 2, None: 3, (1, 2): 4, 'a': 5, 2.0: [torch.zeros(1)]}"),
    O.WRONG_TYPE,
)
payload("dictionary in the wire's own words, a type", returning("{'$$type': 5}"), O.WRONG_TYPE, O.FORBIDDEN)
payload(
    "dictionary in the wire's own words, types within types",
    returning("{'$$type': {'$$type': [{'$$type': None}]}}"),
    O.WRONG_TYPE,
    O.FORBIDDEN,
)
payload(
    "dictionary in the wire's own words, an array that is not there",
    returning("{'$$array': 99}"),
    O.WRONG_TYPE,
    O.FORBIDDEN,
)
payload(
    "dictionary in the wire's own words, an array before the first",
    returning("[p_data, {'$$array': -1}]"),
    O.WRONG_TYPE,
    O.FORBIDDEN,
)
payload("list that holds itself", doing("x = [1]\nx.append(x)", finally_="return x"), O.WRONG_TYPE)
payload(
    "list of a thousand times the same list of a thousand times the same list",
    doing("x = 0\nfor _ in range(4):\n    x = [x] * 1000", finally_="return x"),
    O.WRONG_TYPE,
    O.TIMED_OUT,
    O.OUT_OF_MEMORY,
)
payload(
    "list without end",
    returning(
        "Endless([1])",
        "class Endless(list):\n    def __iter__(self):\n        while True:\n            yield 1",
    ),
    O.WRONG_TYPE,
    O.TIMED_OUT,
    O.OUT_OF_MEMORY,
)
payload("NaN", returning("torch.full_like(p_data, float('nan'))"), O.NOT_FINITE)
payload("infinity as a number", returning("float('inf')"), O.WRONG_TYPE)
payload("string of 100 MB", returning("'x' * 100_000_000"), O.WRONG_TYPE, O.TOO_MUCH_OUTPUT)
payload("whole number of a million digits", returning("1 << 4_000_000"), O.WRONG_TYPE, O.TOO_MUCH_OUTPUT)
payload("whole number of sixty digits", returning("10 ** 60"), O.WRONG_TYPE, O.FORBIDDEN)
payload("half a character", returning("'\\ud800' * 10"), O.WRONG_TYPE)
payload(
    "type with an endless name",
    returning("type('A' * 5_000_000, (), {'__module__': 'B' * 5_000_000})()"),
    O.WRONG_TYPE,
    O.TOO_MUCH_OUTPUT,
)
payload(
    "tensor of 80 MB", returning("torch.zeros(10_000_000, dtype=torch.float64)"), O.WRONG_TYPE, O.WRONG_SHAPE
)
payload("tensor on no device", returning("torch.zeros(7, device='meta')"), O.WRONG_TYPE, O.RAISED)
payload("sparse tensor", returning("torch.zeros_like(p_data).to_sparse()"), O.WRONG_TYPE, O.RAISED)
payload("complex tensor", returning("torch.zeros_like(p_data) + 0j"), O.WRONG_TYPE)
payload("tensor without elements", returning("p_data[:0]"), O.WRONG_SHAPE)
payload(
    "text with an equality of its own",
    returning(
        "Text('healthy')",
        "class Text(str):\n    __eq__ = lambda self, other: True\n    __hash__ = str.__hash__",
    ),
    O.WRONG_TYPE,
)

# --- Errors that are attacks --------------------------------------------------------------------------

payload(
    "error that cannot be put into words",
    doing("raise Silent()", "class Silent(Exception):\n    def __str__(self):\n        raise self"),
    O.RAISED,
    O.KILLED,
)
payload(
    "error with a message of 100 MB",
    doing("raise ValueError('x' * 100_000_000)"),
    O.RAISED,
)
payload(
    "error with control characters and markup",
    doing("raise ValueError('\\x00\\x1b[2J\\u202e<script>alert(1)</script>]]>\\ud800\\uffff')"),
    O.RAISED,
)
payload(
    "error that no except Exception catches",
    doing("raise Free('gone')", "class Free(BaseException):\n    pass"),
    O.RAISED,
)
payload("keyboard interrupt", doing("raise KeyboardInterrupt"), O.RAISED)
payload(
    "error that claims to be a stub's",
    doing("raise Mine", "class Mine(Exception):\n    pass\n\nMine.__name__ = 'NotImplementedError'"),
    O.NOT_ATTEMPTED,
    O.RAISED,
)
payload("recursion", doing("return optimal_discriminator(p_data, p_g)"), O.RAISED)
payload(
    "recursion until the stack is full",
    doing("sys.setrecursionlimit(10**9)\nhold = lambda f: sorted([1, 2], key=lambda x: hold(f))\nhold(1)"),
    O.KILLED,
    O.RAISED,
    O.OUT_OF_MEMORY,
)
payload("reading from address 0", doing("ctypes.string_at(0)"), O.KILLED)
payload("abort", doing("os.abort()"), O.KILLED)
payload("os._exit(0)", doing("os._exit(0)"), O.KILLED)
for status in (1, 3, 77, 137, 255):
    payload(f"os._exit({status})", doing(f"os._exit({status})"), O.KILLED)
payload("sys.exit(0)", doing("sys.exit(0)"), O.RAISED)
payload("exit while it is being defined", "os._exit(0)\n# %%\nX = os._exit(0)\n" + returning("X"), O.KILLED)
payload(
    "error in a finaliser",
    returning(
        "Bomb(torch.zeros_like(p_data)).x",
        """
        class Bomb:
            def __init__(self, x):
                self.x = x
            def __del__(self):
                raise SystemExit(0)
        """,
    ),
    O.WRONG_VALUE,
)
payload(
    "sleep at exit, behind a right answer",
    doing(
        "atexit.register(time.sleep, 600)\nthreading._register_atexit(time.sleep, 600)", finally_=RIGHT_VALUE
    ),
    O.RIGHT,
    right=True,
)

# --- Judges that are bribed ---------------------------------------------------------------------------

payload(
    "patched allclose and its kin",
    doing("""
        yes = lambda *a, **k: True
        for module in (torch, np, torch.testing, np.testing):
            for name in ("allclose", "isclose", "equal", "array_equal", "assert_close", "assert_allclose"):
                if hasattr(module, name):
                    setattr(module, name, yes)
    """),
    O.WRONG_VALUE,
)
payload(
    "patched methods of tensors",
    doing("""
        yes = lambda *a, **k: True
        for name in ("__eq__", "__ne__", "__lt__", "eq", "equal", "allclose", "isclose", "all", "any"):
            setattr(Tensor, name, yes)
    """),
    O.WRONG_VALUE,
    spares=False,
)
payload(
    "patched builtins",
    doing("""
        for name in ("all", "any", "isinstance", "abs", "bool", "sorted", "hasattr"):
            setattr(builtins, name, lambda *a, **k: True)
    """),
    O.WRONG_VALUE,
    O.WRONG_TYPE,
    O.RAISED,
    O.KILLED,
    O.FORBIDDEN,
    spares=False,
)
payload(
    "patched NumPy and PyTorch that the worker itself needs",
    doing(
        """
        lie = lambda *a, **k: Liar()
        for owner, name in ((torch, "equal"), (torch, "nan_to_num"), (Tensor, "detach"), (Tensor, "numel"),
                            (Tensor, "cpu"), (Tensor, "numpy"), (torch.autograd, "grad")):
            setattr(owner, name, lie)
    """,
        LIAR,
    ),
    O.WRONG_VALUE,
    O.WRONG_TYPE,
    O.RAISED,
    O.KILLED,
    O.FORBIDDEN,
    spares=False,
)
payload(
    "patched json, struct and os.write",
    doing("""
        said = json.dumps
        json.dumps = lambda *a, **k: said({"data": {"verdict": "right", "points": 99}, "arrays": []})
        struct.pack = lambda *a: b""
        os.write = lambda fd, data: len(data)
    """),
    O.WRONG_VALUE,
    O.WRONG_TYPE,
    O.TIMED_OUT,
    O.KILLED,
    O.FORBIDDEN,
    spares=False,
)
CUT = """
def gan_objective(real_logits, fake_logits):
    value = -F.softplus(-real_logits).mean() - F.softplus(fake_logits).mean()
    {bribe}
    return torch.stack([-value, value]).detach()
"""
payload("gradient cut off", CUT.format(bribe=""), O.WRONG_GRADIENT, attacks="gan_objective")
BRIBE = """
def tell(encode):
    def run(answer, request, *rest):
        told = {{"mutated": [], "nets": {{}}, "net_state": {{}}, "buffers": {{}}, "net_gradients": {{}}}}
        returned = answer(*map(torch.from_numpy, request["args"].values()))
        return told | {{"returned": encode(returned)}} | {odd}
    return run

def bribe():
    frame = sys._getframe(1)
    while frame:
        if "_call" in frame.f_globals:
            frame.f_globals["_call"] = tell(frame.f_globals["encode"])
        frame = frame.f_back
"""
for odd in (
    "{}",
    "{'gradients': {}}",
    "{'gradients': {'real_logits': {}, 'fake_logits': ''}}",
    "{'gradients': [[], []]}",
    "{'gradients': None}",
    "{'gradients': {'real_logits': None, 'fake_logits': None}}",
    "{'mutated': ['real_logits']}",
    "{'mutated': ['no such argument']}",
    "{'mutated': [''], 'gradients': 1}",
):
    payload(
        f"gradient cut off, and the report says {odd}",
        BRIBE.format(odd=odd) + CUT.format(bribe="bribe()"),
        O.WRONG_GRADIENT,
        O.CHANGED_INPUT,
        O.FORBIDDEN,
        attacks="gan_objective",
        spares=False,
    )
payload(
    "the worker's own names overwritten, up all frames",
    doing("""
        frame = sys._getframe(1)
        while frame:
            for name in list(frame.f_globals):
                if callable(frame.f_globals[name]) and not name.startswith("__"):
                    frame.f_globals[name] = lambda *a, **k: {"returned": "right", "mutated": []}
            frame = frame.f_back
    """),
    O.WRONG_VALUE,
    O.WRONG_TYPE,
    O.RAISED,
    O.KILLED,
    O.FORBIDDEN,
    O.TIMED_OUT,
    spares=False,
)
payload(
    "every dictionary of the process gets the keys of a verdict",
    doing("""
        for thing in gc.get_objects():
            if type(thing) is dict and thing.keys() & {"verb", "do", "with", "args", "returned", "mutated"}:
                thing.update(outcome="right", verdict="right", points=99, returned=None, raised=None)
    """),
    O.WRONG_VALUE,
    O.WRONG_TYPE,
    O.RAISED,
    O.KILLED,
    O.FORBIDDEN,
    spares=False,
)
payload(
    "trace and profile functions",
    doing("""
        def spoil(frame, event, argument):
            for name in ("returned", "expected", "response"):
                if name in frame.f_locals:
                    frame.f_locals[name] = None
            return spoil
        sys.settrace(spoil)
        sys.setprofile(spoil)
        threading.settrace(spoil)
    """),
    O.WRONG_VALUE,
    O.WRONG_TYPE,
    O.RAISED,
    spares=False,
)
payload(
    "import system replaced",
    doing("""
        class Finder:
            def find_spec(self, *a):
                raise SystemExit(0)
        sys.meta_path.insert(0, Finder())
        sys.path_hooks.insert(0, lambda path: os._exit(0))
        sys.path.insert(0, os.getcwd())
        builtins.__import__ = lambda *a, **k: Finder()
        for name in ("numpy", "torch", "json", "struct", "os", "genimg_ref.exercises.probe"):
            sys.modules[name] = Finder()
    """),
    O.WRONG_VALUE,
    O.RAISED,
    O.KILLED,
    spares=False,
)
payload(
    "guess at the order of the cases",
    """
    CALLS = []
    ORDER = ["healthy", "starved", "collapsed", "collapsed", "healthy", "healthy", "collapsed", "collapsed",
             "healthy", "starved", "healthy", "healthy", "healthy", "healthy"]

    def diagnose_run(real_probability, fake_probability, gradient_norm, covered):
        CALLS.append(1)
        return ORDER[(len(CALLS) - 1) % len(ORDER)]
    """,
    O.WRONG_VALUE,
    attacks="diagnose_run",
)
payload(
    "labels of the cases found in memory",
    """
    def spy():
        found, needle = set(), "taht nur a"[::-1]
        for thing in gc.get_objects():
            inner = thing.values() if type(thing) is dict else thing if type(thing) in (list, tuple) else ()
            found |= {x for x in inner if type(x) is str and needle in x and x != needle}
        return found

    def diagnose_run(real_probability, fake_probability, gradient_norm, covered):
        raise RuntimeError(f"found {spy() or 'nothing'}")
    """,
    O.RAISED,
    says="found nothing",
    attacks="diagnose_run",
)

# --- Classes ------------------------------------------------------------------------------------------

payload(
    "class whose construction never ends",
    "class Generator64(nn.Module):\n    def __init__(self, *a):\n        while True:\n            pass\n",
    O.TIMED_OUT,
    attacks="Generator64",
)
payload(
    "class with a metaclass that never ends",
    """
    class Meta(type):
        def __call__(cls, *a):
            while True:
                pass

    class Generator64(metaclass=Meta):
        def forward(self, z):
            return z
    """,
    O.TIMED_OUT,
    attacks="Generator64",
)
payload(
    "module with endless parameters",
    """
    class Generator64(nn.Module):
        def __init__(self, *a):
            super().__init__()
        def parameters(self, recurse=True):
            while True:
                yield nn.Parameter(torch.zeros(1))
        def forward(self, z):
            return z
    """,
    O.TIMED_OUT,
    O.OUT_OF_MEMORY,
    attacks="Generator64",
)
payload(
    "module that shows parameters it does not use",
    HONEST["Generator64"].replace("class Generator64", "class Honest")
    + """
class Generator64(nn.Module):
    def __init__(self, *a):
        super().__init__()
        self.inner = Honest(*a)
    def forward(self, z):
        return torch.zeros_like(self.inner(z))
""",
    O.WRONG_VALUE,
    O.WRONG_GRADIENT,
    attacks="Generator64",
)
payload(
    "module whose parameters are numbers",
    """
    class Generator64(nn.Module):
        def __init__(self, *a):
            super().__init__()
        def parameters(self, recurse=True):
            return [1, 2, 3]
        def train(self, mode=True):
            os._exit(0)
        def forward(self, z):
            return z
    """,
    O.RAISED,
    O.WRONG_TYPE,
    O.WRONG_SHAPE,
    attacks="Generator64",
)
payload(
    "class that calls itself a module",
    LIAR
    + "\nclass Generator64(Liar):\n    __class__ = property(lambda self: nn.Module)\n"
    + "    def __init__(self, *a):\n        pass\n",
    O.RAISED,
    O.WRONG_TYPE,
    O.WRONG_SHAPE,
    O.TIMED_OUT,
    attacks="Generator64",
)

# --- Conduct ------------------------------------------------------------------------------------------

payload(
    "input changed in place", doing("p_data.div_(p_data + p_g)", finally_="return p_data"), O.CHANGED_INPUT
)
payload(
    "first result returned for ever",
    returning("CACHE.setdefault(type(p_data), p_data / (p_data + p_g))", "CACHE = {}"),
    O.WRONG_VALUE,
    O.WRONG_SHAPE,
    O.NOT_FINITE,
)
payload(
    "right for the first three calls",
    doing(
        "CALLS.append(1)\nif len(CALLS) > 3:\n    return torch.zeros_like(p_data)", "CALLS = []", RIGHT_VALUE
    ),
    O.WRONG_VALUE,
)
payload(
    "the returned tensor is changed later",
    doing(
        "EARLIER and EARLIER[-1].zero_()\nEARLIER.append(right(p_data, p_g))",
        "EARLIER = []\n\ndef right(p_data, p_g):\n    " + RIGHT_VALUE,
        "return EARLIER[-1]",
    ),
    O.RIGHT,
    right=True,
)
payload(
    "seeds the global generator",
    HONEST["init_weights"].replace("    for", "    torch.manual_seed(0)\n    for", 1),
    O.CHANGED_INPUT,
    attacks="init_weights",
)
payload(
    "defaults of PyTorch changed for all that follow",
    doing("""
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(1)
        np.random.seed(1)
        torch.set_printoptions(precision=1)
    """),
    O.WRONG_VALUE,
)
