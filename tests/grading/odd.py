"""Notebooks that look strange and are mostly right; hostile only to those who read them."""

import textwrap

from payloads import HONEST, RIGHT_VALUE, doing, payload, returning

from genimg_ref.exercises.compare import Outcome as O

RIGHT = HONEST["optimal_discriminator"]
WRONG = returning("torch.zeros_like(p_data)")
STUB = 'def optimal_discriminator(p_data, p_g):\n    """The best."""\n    raise NotImplementedError\n'
payload("stub untouched", [STUB], O.NOT_ATTEMPTED)
payload("right, then the stub again", [RIGHT, STUB], O.RIGHT, right=True)
payload("stub, then right", [STUB, RIGHT], O.RIGHT, right=True)
payload("right, then wrong", [RIGHT, WRONG], O.WRONG_VALUE)
payload("wrong, then right, in one cell", [WRONG + "\n" + RIGHT], O.RIGHT, right=True)
payload("nothing of it", ["x = 1"], O.NOT_ATTEMPTED)
payload(
    "helpers below, and the base of a helper's class below that",
    [
        "def optimal_discriminator(p_data, p_g):\n    return Share()(p_data, p_g)",
        "class Share(Base):\n    def __call__(self, a, b):\n        return self.share(a, b)",
        "class Base:\n    def share(self, p_data, p_g):\n        " + RIGHT_VALUE,
    ],
    O.RIGHT,
    right=True,
)
payload(
    "magics, shell escapes and questions",
    [
        "%matplotlib inline\n!touch $outside/shell\n%cd /\nfiles = !ls\nsum?\n"
        + "%pip install evil\n%load_ext autoreload\n"
        + RIGHT,
        "%%bash\ntouch $outside/bash\nos._exit(0)",
        "%%writefile $outside/written\nx",
        "%%script python3\nopen('$outside/script', 'w')",
        "!!kill -9 -1\n%sx touch $outside/sx\n%run evil.py\n?torch.where\ntorch.where??",
    ],
    O.RIGHT,
    right=True,
)
payload(
    "six hundred shell escapes", ["\n".join(f"!echo {k}" for k in range(600)), RIGHT], O.RIGHT, right=True
)
payload("thousands of questions", ["\n".join(f"x{k}?" for k in range(3000)), RIGHT], O.RIGHT, right=True)
payload(
    "input transformers",
    [
        "from IPython import get_ipython\nip = get_ipython()\n"
        "ip.input_transformers_cleanup.append(lambda lines: ['import os; os._exit(0)'])\n"
        "ip.ast_transformers.append(None)\n"
        "class T(__import__('ast').NodeTransformer):\n    visit = lambda self, node: None\n",
        RIGHT,
    ],
    O.RIGHT,
    right=True,
)
payload(
    "cells that are no Python",
    ["def broken(:\n    pass", "x = (", RIGHT, "    indented()\n  less()"],
    O.RIGHT,
    right=True,
)
payload(
    "its own cell is no Python",
    ["def optimal_discriminator(p_data, p_g)\n    return p_data"],
    O.RAISED,
    O.NOT_ATTEMPTED,
    O.UNREADABLE,
)
payload(
    "demos that never end",
    ["while True:\n    pass", "os._exit(0)", "time.sleep(1e9)", "raise SystemExit", RIGHT],
    O.RIGHT,
    right=True,
)
PARSER_BOMBS = {
    "brackets": "x = " + "(" * 100_000,
    "minuses": "x = " + "-" * 100_000 + "1",
    "attributes": "x = a" + ".a" * 100_000,
    "sums": "x = " + "+".join("1" * 50_000),
    "lambdas": "x = " + "lambda: " * 20_000 + "1",
    "calls": "x = f" + "()" * 50_000,
    "branches": "if 1: pass\n" + "elif 1: pass\n" * 10_000,
    "comprehensions": "x = " + "[0 for a in " * 90 + "b" + "]" * 90,
    "an f-string in an f-string": "x = " + "f'{" * 100 + "1" + "}'" * 100,
    "a null byte": "x = 1\0",
    "statements": "x = 1\n" * 10_000,
    "indentation": "".join(" " * k + "if 1:\n" for k in range(120)),
}
for kind, cell in PARSER_BOMBS.items():
    payload(f"too much for a parser: {kind}", [cell, RIGHT], O.RIGHT, right=True)
payload(
    "a constant that takes for ever, folded by the compiler",
    ["x = " + "((((1 << 100) ** 10) ** 10) ** 10) ** 10\n" + returning("p_data * x")],
    O.RAISED,
    O.TIMED_OUT,
    O.WRONG_VALUE,
    O.NOT_FINITE,
    O.OUT_OF_MEMORY,
)
payload(
    "a name in another alphabet",
    [RIGHT.replace("def optimal_discriminator", "def \uff4fptimal_d\U0001d456scriminator")],
    O.RIGHT,
    right=True,
)
payload(
    "an answer bound by assignment",
    ["solution = lambda a, b: torch.where(a + b > 0, a / (a + b), 0.5)\noptimal_discriminator = solution"],
    O.RIGHT,
    right=True,
)
payload("an answer with an attribute", [RIGHT, "optimal_discriminator.author = 'me'"], O.RIGHT, right=True)
payload(
    "an answer wrapped afterwards",
    [RIGHT, "optimal_discriminator = torch.no_grad()(optimal_discriminator)"],
    O.RIGHT,
    right=True,
)
payload(
    "an answer wrapped by a decorator",
    ["def twice(f):\n    return lambda *a: (f(*a), f(*a))[1]\n\n@twice" + RIGHT],
    O.RIGHT,
    right=True,
)
payload(
    "an answer in a branch",
    ["if torch.cuda.is_available() or True:" + textwrap.indent(RIGHT, "    ")],
    O.RIGHT,
    right=True,
)
payload(
    "an answer in a function that is there only for some",
    [
        "try:\n    import cupy\nexcept ImportError:\n    cupy = None\n"
        + RIGHT.replace("total =", "assert cupy is None\n    total =")
    ],
    O.RIGHT,
    right=True,
)
payload(
    "an answer built by exec",
    ["exec('def optimal_discriminator(p_data, p_g):\\n    return p_data / (p_data + p_g)')"],
    O.NOT_ATTEMPTED,
)
payload(
    "a class whose method comes in another cell",
    [
        HONEST["Generator64"].split("    def forward")[0],
        "def forward(self, z):\n    return self.layers(self.project(z).view(-1, self.wide, 4, 4))\n",
        "Generator64.forward = forward",
    ],
    O.RIGHT,
    attacks="Generator64",
    right=True,
)
payload(
    "a function in place of a class",
    [
        HONEST["Generator64"].replace("class Generator64", "class Net")
        + "\n\ndef Generator64(*sizes):\n    return Net(*sizes)\n"
    ],
    O.RIGHT,
    attacks="Generator64",
    right=True,
)
payload(
    "an answer that keeps random numbers to itself",
    [RIGHT.replace("    total", "    torch.rand(3)\n    np.random.rand(3)\n    total", 1)],
    O.RIGHT,
    right=True,
)
payload(
    "an answer in many threads, with a child that has ended",
    doing(
        """
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(torch.exp, [p_data] * 8))
        subprocess.run([sys.executable, "-S", "-c", ""], check=True)
        """,
        finally_=RIGHT_VALUE,
    ),
    O.RIGHT,
    right=True,
)
payload(
    "a notebook that begins with the reference",
    [
        "import genimg_ref\nfrom genimg_ref import check\nfrom genimg_ref.gan import divergences",
        RIGHT,
        "check(optimal_discriminator)",
    ],
    O.RIGHT,
    right=True,
)
payload(
    "an answer that asks the reference",
    [
        "from genimg_ref.gan.divergences import optimal_discriminator as reference\n"
        + returning("reference(p_data, p_g)")
    ],
    O.FORBIDDEN,
    O.RAISED,
)
payload(
    "an answer that is the reference",
    ["from genimg_ref.gan.divergences import optimal_discriminator"],
    O.FORBIDDEN,
    O.RAISED,
    O.NOT_ATTEMPTED,
)
payload(
    "tensors remembered by identity",
    [RIGHT, "optimal_discriminator = functools.lru_cache(optimal_discriminator)"],
    O.WRONG_VALUE,
)
payload(
    "line ends that are none for Python",
    ["TINY = 0", "# one \u2028# two \x0c# three \x85# four" + RIGHT.replace("> 0", "> TINY")],
    O.RIGHT,
    right=True,
)
payload(
    "a modulo at the beginning of a line beside a magic",
    ["%matplotlib inline\n" + RIGHT.replace("p_data + p_g\n", "(p_data + p_g\n        % 1e30)\n")],
    O.RIGHT,
    right=True,
)
payload(
    "a percent sign in a text beside a magic",
    ["%matplotlib inline\nSHARE = '''\n%s\n''' % 1\n" + RIGHT.replace("> 0", "> float(SHARE) - 1")],
    O.RIGHT,
    right=True,
)
payload(
    "a cell that is timed",
    ["%%time\n" + RIGHT, "%time x = 1\n%%time"],
    O.RIGHT,
    right=True,
)
payload(
    "annotations that are not there",
    [
        "from __future__ import annotations\n"
        + RIGHT.replace("(p_data, p_g)", "(p_data: Missing, p_g: np.Nothing) -> Gone")
    ],
    O.RIGHT,
    right=True,
)
payload(
    "names that the answer declares global",
    ["COUNT = 0\n" + RIGHT.replace("    total", "    global COUNT\n    COUNT += 1\n    total", 1)],
    O.RIGHT,
    right=True,
)
payload(
    "a helper that calls the answer, which calls the helper",
    [
        "def share(a, b):\n    return a / (a + b) if optimal_discriminator else None",
        RIGHT.replace("p_data / total", "share(p_data, p_g)"),
    ],
    O.RIGHT,
    right=True,
)
payload(
    "names in an __all__ and a star",
    [
        "from math import *\nfrom genimg_ref.gan.divergences import *\nfrom os.path import *\n"
        + RIGHT.replace("> 0", "> floor(0.5)")
    ],
    O.RIGHT,
    right=True,
)
payload(
    "printing as one goes",
    [RIGHT.replace("    total", "    print(p_data)\n    total", 1)],
    O.RIGHT,
    right=True,
)
payload(
    "warnings without number",
    [RIGHT.replace("    total", "    import warnings\n    warnings.warn(str(p_data))\n    total", 1)],
    O.RIGHT,
    right=True,
)
payload("an answer that is compiled", ["@torch.compile" + RIGHT], O.RIGHT, right=True)
payload(
    "an answer that is scripted",
    ["@torch.jit.script" + RIGHT.replace("(p_data, p_g)", "(p_data: Tensor, p_g: Tensor) -> Tensor")],
    O.RIGHT,
    right=True,
)
payload(
    "an answer that computes on four threads",
    doing(
        """
        torch.set_num_threads(4)
        torch.randn(500, 500) @ torch.randn(500, 500)
        F.conv2d(torch.randn(8, 8, 32, 32), torch.randn(8, 8, 3, 3))
        """,
        finally_=RIGHT_VALUE,
    ),
    O.RIGHT,
    right=True,
)
payload(
    "an answer that takes its device from the reference",
    [
        "import genimg_ref\ndevice = genimg_ref.device()",
        RIGHT.replace("    total", "    p_data = p_data.to(device)\n    total", 1),
    ],
    O.FORBIDDEN,
    says="genimg_ref",
)
payload(
    "an answer with a temporary file, a figure and an event loop",
    [
        "import asyncio\nimport matplotlib.pyplot as plt",
        doing(
            """
            with tempfile.NamedTemporaryFile() as file:
                torch.save(p_data, file.name)
                torch.load(file.name)
            plt.plot(p_data)
            plt.savefig("figure.png")
            asyncio.run(asyncio.sleep(0))
            """,
            finally_=RIGHT_VALUE,
        ),
    ],
    O.RIGHT,
    right=True,
)
payload(
    "classes of the library in front of the answer",
    [
        "from dataclasses import dataclass\nfrom enum import Enum\nfrom typing import NamedTuple\n\n"
        "@dataclass\nclass Zero:\n    value: int = 0\n\nclass Pair(NamedTuple):\n    value: int = 0\n\n"
        "class Kind(Enum):\n    NONE = 0\n",
        RIGHT.replace("> 0", "> Zero().value + Pair().value + Kind.NONE.value"),
    ],
    O.RIGHT,
    right=True,
)
