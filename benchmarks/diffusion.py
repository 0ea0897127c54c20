"""How fast the U-Net trains and samples, beside those of diffusers and denoising-diffusion-pytorch.

    python benchmarks/diffusion.py [--size 28] [--batch 32] [--rounds 7] [--threads 1]

All contenders are built for grey images with about as many parameters as ours, and meet the same images and
times. They run in turn in one process, round after round, so that whatever else the machine does meets all
of them. A figure is the median over the rounds; a ratio is the median of the ratios within the rounds, to
the first contender, which is ours. Three things are timed:

- step: loss, gradients and Adam's step for one batch;
- sample: one evaluation without gradients, of which every sampler makes many;
- peak: what this machine reaches in a convolution of 64 channels on maps of 28 x 28, in the same rounds.

FLOPs are counted by ``torch.utils.flop_counter``: multiplications and additions of matrix products and
convolutions, forward and backward. Ours stands in the table twice: as the others do it, every pixel at full
size, and with patches of 2 x 2 pixels.

The other packages live in an environment of their own under ``.venv-bench/``; see the Makefile.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
from denoising_diffusion_pytorch import Unet as LucidUNet
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from genimg_ref.diffusion.unet import UNet

PEAK = "convolution"


class Steps(nn.Module):
    """A model of other packages, which counts time in a thousand steps, called as ours is."""

    def __init__(self, network: nn.Module, answer: Callable = lambda output: output) -> None:
        super().__init__()
        self.network, self.answer = network, answer

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.answer(self.network(x, 1000 * t))


def of_diffusers(channels: tuple[int, ...]) -> nn.Module:
    """Blocks as ours has them: one a level, attention in the middle alone, scale and shift."""
    levels = len(channels)
    network = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * levels,
        up_block_types=("UpBlock2D",) * levels,
        attention_head_dim=16,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
    )
    return Steps(network, lambda output: output.sample)


def contenders() -> dict[str, nn.Module]:
    rng = torch.Generator().manual_seed(0)
    return {
        "ours": UNet(1, (32, 48, 64), rng=rng),
        "ours, patches of 2 x 2": UNet(1, (64, 64), patch=2, rng=rng),
        "diffusers": of_diffusers((16, 32, 48)),
        "diffusers, channels_last": of_diffusers((16, 32, 48)).to(memory_format=torch.channels_last),
        "denoising-diffusion-pytorch": Steps(LucidUNet(18, channels=1, dim_mults=(1, 2, 2), attn_heads=2)),
    }


def step(model: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, t: Tensor) -> None:
    loss = F.mse_loss(model(x, t), x)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def flops(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def measure(models: dict[str, nn.Module], options: argparse.Namespace) -> tuple[dict, dict]:
    """Seconds of every round and FLOPs, both by name and kind of work."""
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(options.batch, 1, options.size, options.size, generator=rng)
    t = torch.rand(options.batch, generator=rng)
    work: dict[tuple[str, str], Callable[[], object]] = {}
    for name, model in models.items():
        optimiser = torch.optim.Adam(model.parameters(), 1e-4)
        work[name, "step"] = lambda model=model, optimiser=optimiser: step(model, optimiser, x, t)
        work[name, "sample"] = torch.no_grad()(lambda model=model: model(x, t))
    convolution = nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    maps = torch.randn(options.batch, 64, 28, 28, generator=rng).to(memory_format=torch.channels_last)
    work[PEAK, "sample"] = torch.no_grad()(lambda: convolution(maps))
    counts = {key: flops(each) for key, each in work.items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in work}
    for _ in range(options.rounds):
        for key, each in work.items():
            times[key].append(seconds(each))
    return times, counts


def report(models: dict[str, nn.Module], times: dict, counts: dict, kind: str, images: int) -> None:
    peak = counts[PEAK, "sample"] / min(times[PEAK, "sample"])
    first = next(iter(models))
    print(f"\n## {kind}\n\nThe convolution reaches {peak / 1e9:.0f} GFLOP/s at best.\n")
    print("| | parameters | MFLOP an image | ms | times ours | times ours at equal FLOPs | share of peak |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, model in models.items():
        own, ours = times[name, kind], times[first, kind]
        ratio = statistics.median(s / o for s, o in zip(own, ours, strict=True))
        equal = ratio * counts[first, kind] / counts[name, kind]
        print(
            f"| {name} | {sum(p.numel() for p in model.parameters()):,} "
            f"| {counts[name, kind] / images / 1e6:.0f} | {1000 * statistics.median(own):.1f} "
            f"| {ratio:.2f} | {equal:.2f} | {counts[name, kind] / statistics.median(own) / peak:.0%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=28, help="side of the images")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"Batches of {options.batch} images of {options.size} x {options.size}, {options.rounds} rounds, "
        f"{options.threads} threads; {platform.machine()}, PyTorch {torch.__version__}, diffusers "
        f"{diffusers.__version__}, load {Path('/proc/loadavg').read_text().split()[0]}"
    )
    models = contenders()
    times, counts = measure(models, options)
    for kind in ("step", "sample"):
        report(models, times, counts, kind, options.batch)


if __name__ == "__main__":
    main()
