"""How fast the measures are, and how much memory they need, beside scipy, torchmetrics and torch-fidelity.

    python benchmarks/metrics.py [--count 10000] [--dim 2048] [--rounds 3] [--only root|frechet|precision]

All contenders get the same features, float32 as an extractor makes them, with a spectrum that falls like
those of real images. They run in turn in one process, round after round, so that whatever else the machine
does meets all of them. A figure is the median over the rounds; a ratio is the median of the ratios within
the rounds, to the first contender, which is ours.

- root: the distance of two Gaussians whose means and covariances are known (tr (A B)^(1/2) costs the time);
- frechet: the same from features, which is what the other packages offer;
- precision: improved precision and recall.

Memory is what a contender adds at its peak to a fresh process which holds the features already. That is read
from ``/proc``, so on Linux only.
"""

import argparse
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.fid import FrechetInceptionDistance, _compute_fid

from genimg_ref.metrics.fid import frechet_distance, frechet_distance_of
from genimg_ref.metrics.precision_recall import precision_recall
from genimg_ref.metrics.statistics import Moments, gather, moments

Numbers = tuple[float, ...]
NEIGHBOURS = 3

# ---- contenders ------------------------------------------------------------------------------------------


def ours_of_moments(a: Moments, b: Moments) -> Numbers:
    return (frechet_distance(a, b),)


def ours_of_features(a: Tensor, b: Tensor) -> Numbers:
    return (frechet_distance_of(a, b),)


def ours_in_batches(a: Tensor, b: Tensor) -> Numbers:
    """As in a stream of images: moments of batches of 500, merged."""
    first, second = gather(a.split(500)), gather(b.split(500))
    return (frechet_distance(first, second),)


def scipy_of_moments(a: Moments, b: Moments) -> Numbers:
    """The way of Heusel et al. and of pytorch-fid: a square root of the product, its real part."""
    mean_a, mean_b, cov_a, cov_b = (x.numpy() for x in (a.mean, b.mean, a.covariance(), b.covariance()))
    root = np.real(scipy.linalg.sqrtm(cov_a @ cov_b))
    step = mean_a - mean_b
    return (float(step @ step + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root)),)


def scipy_of_features(a: Tensor, b: Tensor) -> Numbers:
    (mean_a, cov_a), (mean_b, cov_b) = (
        (rows.mean(axis=0), np.cov(rows, rowvar=False)) for rows in (a.double().numpy(), b.double().numpy())
    )
    root = np.real(scipy.linalg.sqrtm(cov_a @ cov_b))
    step = mean_a - mean_b
    return (float(step @ step + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root)),)


def torchmetrics_of_moments(a: Moments, b: Moments) -> Numbers:
    return (_compute_fid(a.mean, a.covariance(), b.mean, b.covariance()).item(),)


class Through(torch.nn.Module):
    """An extractor for torchmetrics whose images are features already."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim

    def forward(self, features: Tensor) -> Tensor:
        return features


def torchmetrics_of_features(a: Tensor, b: Tensor) -> Numbers:
    metric = FrechetInceptionDistance(Through(a.shape[1])).set_dtype(torch.float64)
    metric.update(a.double(), real=True)
    metric.update(b.double(), real=False)
    return (metric.compute().item(),)


def fidelity_of_features(a: Tensor, b: Tensor) -> Numbers:
    first, second = fid_features_to_statistics(a), fid_features_to_statistics(b)
    return (fid_statistics_to_metric(first, second, False)["frechet_inception_distance"],)


def ours_precision(real: Tensor, generated: Tensor) -> Numbers:
    return tuple(precision_recall(real, generated, NEIGHBOURS))


def fidelity_precision(real: Tensor, generated: Tensor, *, save: bool = False) -> Numbers:
    settings = {"prc_neighborhood": NEIGHBOURS, "prc_batch_size": 2500 if save else 10_000}
    result = prc_features_to_metric(generated, real, save_cpu_ram=save, verbose=False, **settings)
    return result["precision"], result["recall"]


def fidelity_precision_saving(real: Tensor, generated: Tensor) -> Numbers:
    return fidelity_precision(real, generated, save=True)


Contender = Callable[..., Numbers]
FROM_MOMENTS: dict[str, Contender] = {
    "ours": ours_of_moments,
    "scipy.linalg.sqrtm": scipy_of_moments,
    "torchmetrics": torchmetrics_of_moments,
}
FROM_FEATURES: dict[str, Contender] = {
    "ours": ours_of_features,
    "ours, batches of 500": ours_in_batches,
    "scipy.linalg.sqrtm": scipy_of_features,
    "torchmetrics": torchmetrics_of_features,
    "torch-fidelity": fidelity_of_features,
}
PRECISION: dict[str, Contender] = {
    "ours": ours_precision,
    "torch-fidelity": fidelity_precision,
    "torch-fidelity, saving memory": fidelity_precision_saving,
}
TABLES = {
    "root": ("Fréchet distance from moments", FROM_MOMENTS),
    "frechet": ("Fréchet distance from features", FROM_FEATURES),
    "precision": ("Precision and recall from features", PRECISION),
}

# ---- measuring -------------------------------------------------------------------------------------------


def draw(count: int, dim: int, seed: int, shift: float) -> Tensor:
    """Positive features like Inception's: correlated, of very different variance."""
    shared = torch.Generator().manual_seed(0)
    mixing = torch.randn(dim, dim, generator=shared) / dim**0.5
    spectrum = torch.arange(1, dim + 1, dtype=torch.float32) ** -0.5
    rows = torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))
    return ((rows * spectrum) @ mixing * 10 + shift).relu()


def inputs(table: str, count: int, dim: int) -> tuple[Tensor, Tensor] | tuple[Moments, Moments]:
    a, b = draw(count, dim, 1, 0.4), draw(count, dim, 2, 0.5)
    return (moments(a), moments(b)) if table == "root" else (a, b)


def rounds(contenders: dict[str, Contender], data: tuple, number: int) -> dict[str, list[float]]:
    """Seconds of every contender in every round."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(number):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender(*data)
            seconds[name].append(time.perf_counter() - start)
    return seconds


def peak(table: str, name: str, count: int, dim: int) -> tuple[float, Numbers]:
    """Mebibytes that a contender adds at its peak, and its answer, from a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (table, name, count, dim, torch.get_num_threads()))


def _peak(table: str, name: str, count: int, dim: int, threads: int) -> tuple[float, Numbers]:
    torch.set_num_threads(threads)
    data = inputs(table, count, dim)
    contender = TABLES[table][1][name]
    contender(*inputs(table, 64, 16))  # loads what is loaded on first use
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _mebibytes("VmRSS")
    answer = contender(*data)
    return _mebibytes("VmHWM") - before, answer


def _mebibytes(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) / 1024


def report(table: str, options: argparse.Namespace) -> None:
    title, contenders = TABLES[table]
    small, large = (inputs(table, *size) for size in ((64, 16), (options.count, options.dim)))
    rounds(contenders, small, 1)
    seconds = rounds(contenders, large, options.rounds)
    first = next(iter(contenders))
    print(
        f"\n## {title}\n\n| | seconds (median) | times ours | peak MiB | answer |\n|---|---:|---:|---:|---|"
    )
    for name in contenders:
        ratio = statistics.median(s / t for s, t in zip(seconds[name], seconds[first], strict=True))
        memory, answer = peak(table, name, options.count, options.dim)
        numbers = ", ".join(f"{number:.12g}" for number in answer)
        print(f"| {name} | {statistics.median(seconds[name]):.2f} | {ratio:.2f} | {memory:.0f} | {numbers} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="features of each set")
    parser.add_argument("--dim", type=int, default=2048, help="width of a feature")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=TABLES, action="append")
    options = parser.parse_args()
    print(
        f"{options.count:,} against {options.count:,} features of width {options.dim:,}, {options.rounds} "
        f"rounds, {torch.get_num_threads()} threads; {platform.machine()}, PyTorch {torch.__version__}, "
        f"scipy {scipy.__version__}, load {Path('/proc/loadavg').read_text().split()[0]}"
    )
    for table in options.only or TABLES:
        report(table, options)


if __name__ == "__main__":
    main()
