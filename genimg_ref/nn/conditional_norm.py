"""Batch normalisation whose gain and shift belong to the image's label.

Chapter: cgan

Papers:

- Dumoulin, Shlens and Kudlur, *A Learned Representation for Artistic Style*, 2017, arXiv:1610.07629
  (section 2.2, there with the statistics of a single image)
- de Vries et al., *Modulating Early Visual Processing by Language*, 2017, arXiv:1707.00683 (section 3)
"""

from collections.abc import Sequence

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from genimg_ref.nn.labels import LabelEmbedding, sizes

__all__ = ["ConditionalBatchNorm2d"]


class ConditionalBatchNorm2d(nn.Module):
    """Normalise over batch and positions, all labels together; then gain and shift of each image's label.

    Gains start at 1 and shifts at 0, so at the start it is ``nn.BatchNorm2d``. With several attributes gain
    and shift are sums over them.
    """

    def __init__(self, channels: int, classes: int | Sequence[int]) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = LabelEmbedding(classes, channels, mean=1 / len(sizes(classes)), std=0.0)
        self.shift = LabelEmbedding(classes, channels, std=0.0)

    def forward(
        self, x: Float[Tensor, "batch channels height width"], labels: Shaped[Tensor, "..."]
    ) -> Float[Tensor, "batch channels height width"]:
        gain, shift = self.gain(labels), self.shift(labels)
        return self.norm(x) * gain[:, :, None, None] + shift[:, :, None, None]
