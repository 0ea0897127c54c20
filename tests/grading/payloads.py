"""What a hostile or odd submission is, and the pieces of which those in ``hostile_*`` and ``odd`` are made.

Each is the text of a notebook's code cells, with what a fair instructor expects of it. In the text stand
``$marker`` for a word that marks the payload's processes, ``$outside`` for a folder with files that are none
of its business, ``$port`` for a port of this machine on which the test listens, ``$socket`` for an abstract
address of the same kind, ``$secret`` for a word, backwards, that the grader's environment and an earlier
submission hold, and ``$root`` for the repository.
"""

import textwrap
from dataclasses import dataclass

from genimg_ref.exercises.compare import Outcome

IMPORTS = """
import atexit, builtins, ctypes, fcntl, functools, gc, inspect, json, mmap, os, re, resource, signal, socket
import stat, struct, subprocess, sys, tempfile, threading, time
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
"""

# right answers, which payloads may call and which stand beside them
HONEST = {
    "optimal_discriminator": """
def optimal_discriminator(p_data, p_g):
    total = p_data + p_g
    return torch.where(total > 0, p_data / total, torch.full_like(total, 0.5))
""",
    "modes_covered": """
def modes_covered(samples, means, std):
    distance, nearest = torch.cdist(samples, means).min(dim=1)
    good = distance <= 3 * std
    return len(nearest[good].unique()), good.float().mean().item()
""",
    "gan_objective": """
def gan_objective(real_logits, fake_logits):
    value = -F.softplus(-real_logits).mean() - F.softplus(fake_logits).mean()
    return torch.stack([-value, value])
""",
    "diagnose_run": """
def diagnose_run(real_probability, fake_probability, gradient_norm, covered):
    part = len(covered) // 5
    sure = (real_probability - fake_probability)[-part:].mean() > 0.9
    dead = gradient_norm[-part:].median() < 0.03 * gradient_norm[:part].median()
    if sure and dead:
        return "starved"
    return "healthy" if covered[-part:].mean() > 0.6 else "collapsed"
""",
    "conv_transpose_output_size": """
def conv_transpose_output_size(size, kernel, stride, padding):
    return (size - 1) * stride - 2 * padding + kernel
""",
    "init_weights": """
@torch.no_grad()
def init_weights(model, rng):
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.normal_(0.0, 0.02, generator=rng)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.weight.normal_(1.0, 0.02, generator=rng)
        else:
            continue
        if layer.bias is not None:
            layer.bias.zero_()
""",
    "slerp": """
def slerp(a, b, t):
    cosine = F.cosine_similarity(a, b, dim=-1).unsqueeze(-1)
    parallel = cosine > 1 - 1e-6
    angle = torch.acos(torch.where(parallel, torch.zeros_like(cosine), cosine))
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return torch.where(parallel, (1 - t) * a + t * b, arc)
""",
    "Generator64": """
class Generator64(nn.Module):
    def __init__(self, latent, channels, image_channels):
        super().__init__()
        self.wide = 8 * channels
        self.project = nn.Linear(latent, self.wide * 4 * 4)
        layers = []
        for factor in (8, 4, 2):
            layers += [nn.BatchNorm2d(factor * channels), nn.ReLU()]
            layers += [nn.ConvTranspose2d(factor * channels, factor * channels // 2, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.ConvTranspose2d(channels, image_channels, 4, 2, 1)]
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z):
        return self.layers(self.project(z).view(-1, self.wide, 4, 4))
""",
}
POINTS = {
    "optimal_discriminator": 1,
    "modes_covered": 1,
    "gan_objective": 2,
    "diagnose_run": 2,
    "conv_transpose_output_size": 1,
    "init_weights": 2,
    "slerp": 2,
    "Generator64": 2,
}
CHAPTERS = {
    "gan_math": {"optimal_discriminator", "modes_covered", "gan_objective", "diagnose_run"},
    "dcgan": {"conv_transpose_output_size", "init_weights", "slerp", "Generator64"},
}


@dataclass(frozen=True)
class Payload:
    """One hostile or odd submission.

    Attributes:
        cells: the code of its notebook.
        outcomes: what may come of the attacked exercise.
        attacks: that exercise.
        right: whether the answer deserves its points all the same.
        says: what the verdict's message has to hold.
        spares: whether the other answers of the same student keep their points.
        patient: whether it may take its time, since what it tries needs some.
        looks: whether all that it does is to read, so that it may be let loose without walls.
    """

    name: str
    cells: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    attacks: str = "optimal_discriminator"
    right: bool = False
    says: str = ""
    spares: bool = True
    patient: bool = False
    looks: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def bystander(self) -> str:
        """An exercise of the same chapter, answered honestly, which is graded after the attack."""
        return "modes_covered" if self.attacks in CHAPTERS["gan_math"] else "slerp"

    @property
    def chapter(self) -> str:
        return next(slug for slug, names in CHAPTERS.items() if self.attacks in names)

    @property
    def submission(self) -> list[str]:
        """All cells of the notebook: the attack, and the honest answer to another exercise."""
        return [IMPORTS, *self.cells, HONEST[self.bystander]]


PAYLOADS: list[Payload] = []


def payload(name: str, code: str | list[str], *outcomes: Outcome, **rest: object) -> None:
    """Add a payload; the cells of its text are separated by lines with ``# %%``."""
    cells = code if isinstance(code, list) else textwrap.dedent(code).split("# %%\n")
    PAYLOADS.append(Payload(name, tuple(cells), outcomes, **rest))  # type: ignore[arg-type]


def returning(expression: str, before: str = "") -> str:
    """An answer to `optimal_discriminator` that returns ``expression``."""
    return f"{textwrap.dedent(before)}\ndef optimal_discriminator(p_data, p_g):\n    return {expression}\n"


def doing(body: str, before: str = "", finally_: str = "return torch.zeros_like(p_data)") -> str:
    """An answer to `optimal_discriminator` that does something and then returns zeros."""
    inner = textwrap.indent(textwrap.dedent(body).strip() + "\n" + finally_, "    ")
    return f"{textwrap.dedent(before)}\ndef optimal_discriminator(p_data, p_g):\n{inner}\n"


RIGHT_VALUE = "return torch.where(p_data + p_g > 0, p_data / (p_data + p_g), torch.full_like(p_data, 0.5))"
