# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: -jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %%
import torch
import torch.nn.functional as F
from torch import Tensor, nn


# %%
def conv_transpose_output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """The side of what a transposed convolution makes of an input of side `size`."""
    return (size - 1) * stride - 2 * padding + kernel  # equation (6)


# %%
def transposed_convolution(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """A transposed convolution as zeros between the pixels and an ordinary convolution: equation (7)."""
    batch, channels, height, width = x.shape
    wide = x.new_zeros(batch, channels, (height - 1) * stride + 1, (width - 1) * stride + 1)
    wide[:, :, ::stride, ::stride] = x
    turned = weight.flip((2, 3)).transpose(0, 1)
    rows, columns = weight.shape[2:]
    return F.conv2d(wide, turned, padding=(rows - 1 - padding, columns - 1 - padding))


# %%
@torch.no_grad()
def init_weights(model: nn.Module, rng: torch.Generator) -> None:
    """Initialise the convolutions and batch normalisations inside `model`, in place."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.normal_(0.0, 0.02, generator=rng)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.weight.normal_(1.0, 0.02, generator=rng)
        else:
            continue
        if layer.bias is not None:
            layer.bias.zero_()


# %%
class Generator64(nn.Module):
    """Latents (batch, latent) to images (batch, image_channels, 64, 64) in [-1, 1]."""

    def __init__(self, latent: int, channels: int, image_channels: int) -> None:
        super().__init__()
        self.wide = 8 * channels
        self.project = nn.Linear(latent, self.wide * 4 * 4)
        self.layers = nn.Sequential(
            nn.BatchNorm2d(8 * channels),
            nn.ReLU(),
            nn.ConvTranspose2d(8 * channels, 4 * channels, 4, stride=2, padding=1, bias=False),  # 8
            nn.BatchNorm2d(4 * channels),
            nn.ReLU(),
            nn.ConvTranspose2d(4 * channels, 2 * channels, 4, stride=2, padding=1, bias=False),  # 16
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1, bias=False),  # 32
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ConvTranspose2d(channels, image_channels, 4, stride=2, padding=1),  # 64
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        x = self.project(z).view(-1, self.wide, 4, 4)
        return self.layers(x)


# %%
class Discriminator64(nn.Module):
    """Images (batch, image_channels, 64, 64) to logits (batch,)."""

    def __init__(self, channels: int, image_channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(image_channels, channels, 4, stride=2, padding=1),  # 32
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=False),  # 16
            nn.BatchNorm2d(2 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * channels, 4 * channels, 4, stride=2, padding=1, bias=False),  # 8
            nn.BatchNorm2d(4 * channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4 * channels, 8 * channels, 4, stride=2, padding=1, bias=False),  # 4
            nn.BatchNorm2d(8 * channels),
            nn.LeakyReLU(0.2),
        )
        self.classify = nn.Linear(8 * channels * 4 * 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.layers(images).flatten(1)
        return self.classify(features).squeeze(1)


# %%
@torch.no_grad()
def ema_update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move `average` one step towards `model`, in place: equation (10)."""
    for mine, other in zip(average.parameters(), model.parameters(), strict=True):
        mine.mul_(decay).add_((1 - decay) * other)
    for mine, other in zip(average.buffers(), model.buffers(), strict=True):
        if mine.is_floating_point():
            mine.mul_(decay).add_((1 - decay) * other)
        else:
            mine.copy_(other)


# %%
def diagnose_training(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    """Name what became of a run: "diverged", "collapsed", "discriminator won" or "healthy"."""
    curves = torch.stack([real_probability, fake_probability, sample_spread])
    if not torch.isfinite(curves).all():
        return "diverged"
    real, fake, spread = curves[:, -(curves.shape[1] // 4) :].mean(dim=1).tolist()
    if spread < 0.3 * data_spread:
        return "collapsed"
    if real > 0.9 and fake < 0.1:
        return "discriminator won"
    return "healthy"


# %%
def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation between the rows of `a` (t = 0) and `b` (t = 1): equation (13)."""
    cosine = F.cosine_similarity(a, b, dim=-1).unsqueeze(-1)
    parallel = cosine > 1 - 1e-6
    angle = torch.acos(torch.where(parallel, torch.zeros_like(cosine), cosine))
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return torch.where(parallel, (1 - t) * a + t * b, arc)
