"""Submissions for the tests of the grader."""

import os
from pathlib import Path

import pytest

from genimg_ref.grading import sandbox
from genimg_ref.grading.assignment import Assignment, Limits
from genimg_ref.grading.results import Source, Submission

ROOT = Path(__file__).parents[2]
QUICK = Limits(
    call_seconds=4.0, submission_seconds=30.0, cpu_seconds=20, memory_mb=512, processes=32, output_kb=64
)
DCGAN = Assignment(title="Test", chapters=("dcgan",), seed=7, draws=1, limits=QUICK)


def assignment(*exercises: str, **changes: object) -> Assignment:
    """An assignment of a few exercises of the chapter dcgan."""
    limits = Limits(**(vars(QUICK) | changes))
    return Assignment(title="Test", chapters=("dcgan",), exercises=exercises, seed=7, draws=1, limits=limits)


def submission(*cells: str, student: str = "alice") -> Submission:
    """A notebook with these code cells."""
    return Submission(student, student.title(), (Source(f"{student}.ipynb", "0" * 64, cells),))


def need_sandbox() -> None:
    """Skip where namespaces are not to be had; in continuous integration they have to be."""
    if why := sandbox.available("sandbox"):
        if os.environ.get("CI") == "true":
            pytest.fail(f"no sandbox: {why}")
        pytest.skip(why)


SIZE = """
def conv_transpose_output_size(size, kernel, stride, padding):
    return (size - 1) * stride - 2 * padding + kernel
"""
SLERP = """
import torch
import torch.nn.functional as F

def slerp(a, b, t):
    cosine = F.cosine_similarity(a, b, dim=-1).unsqueeze(-1)
    parallel = cosine > 1 - 1e-6
    angle = torch.acos(torch.where(parallel, torch.zeros_like(cosine), cosine))
    curved = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return torch.where(parallel, (1 - t) * a + t * b, curved)
"""
