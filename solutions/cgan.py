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
from torch.optim import Optimizer


# %%
def with_label_maps(images: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The images, and behind their channels a map for each class."""
    maps = F.one_hot(labels, classes).to(images.dtype)[:, :, None, None]
    return torch.cat([images, maps.expand(-1, -1, *images.shape[2:])], dim=1)


# %%
def conditional_discriminator_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimiser: Optimizer,
    real: Tensor,
    labels: Tensor,
    z: Tensor,
    asked: Tensor,
    classes: int,
) -> float:
    """Move the discriminator one step and return its loss."""

    def with_label(x: Tensor, y: Tensor) -> Tensor:
        return torch.cat([x, F.one_hot(y, classes).to(x.dtype)], dim=1)

    fake = generator(with_label(z, asked)).detach()
    on_real, on_fake = discriminator(with_label(real, labels)), discriminator(with_label(fake, asked))
    loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


# %%
class ConditionalDiscriminator(nn.Module):
    """Images (batch, 1, height, width) and labels (batch,) to logits (batch,)."""

    def __init__(self, height: int, width: int, classes: int, channels: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, height * width)
        self.layers = nn.Sequential(
            nn.Conv2d(2, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.LeakyReLU(0.2),
        )
        self.classify = nn.Linear(2 * channels * (height // 4) * (width // 4), 1)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        maps = self.embed(labels).view_as(images)
        features = self.layers(torch.cat([images, maps], dim=1)).flatten(1)
        return self.classify(features).squeeze(1)


# %%
class ConditionalBatchNorm2d(nn.Module):
    """Batch normalisation with gain and shift of each image's own class."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.norm(x) * self.gain(labels)[:, :, None, None] + self.shift(labels)[:, :, None, None]


# %%
def projection_logits(
    features: Tensor, labels: Tensor, embedding: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """The logits of a projection discriminator."""
    return features @ weight + bias + (embedding[labels] * features).sum(dim=1)


# %%
def auxiliary_losses(
    real_logits: Tensor,
    fake_logits: Tensor,
    real_classes: Tensor,
    fake_classes: Tensor,
    labels: Tensor,
    asked: Tensor,
) -> Tensor:
    """The discriminator's loss, then the generator's, with an auxiliary classifier."""
    read_fakes = F.cross_entropy(fake_classes, asked)
    game = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    discriminator = game + F.cross_entropy(real_classes, labels) + read_fakes
    return torch.stack([discriminator, F.softplus(-fake_logits).mean() + read_fakes])


# %%
def read_back(predicted: Tensor, asked: Tensor, classes: int) -> Tensor:
    """Of the samples asked to be of each class, the share that is read as that class."""
    return torch.stack([(predicted[asked == k] == k).float().mean() for k in range(classes)])


# %%
def diagnose_condition(confusion: Tensor, spread: Tensor, real_spread: Tensor) -> str:
    """Name what became of a condition: "ignored", "mixed up", "collapsed" or "obeyed"."""
    shares = confusion / confusion.sum(dim=1, keepdim=True)
    if (shares - shares.mean(dim=0)).abs().max() < 0.1:
        return "ignored"
    if (shares.diagonal() < 0.5).any():
        return "mixed up"
    if (spread < 0.3 * real_spread).any():
        return "collapsed"
    return "obeyed"
