"""Perfect models: the exact score and denoiser of mixtures of Gaussians under any schedule.

Chapter: ddpm, samplers, guidance

Papers:

- Karras et al., *Elucidating the Design Space of Diffusion-Based Generative Models*, 2022, arXiv:2206.00364
  (the ideal denoiser of finitely many images, appendix B.3)
- Karras et al., *Guiding a Diffusion Model with a Bad Version of Itself*, 2024, arXiv:2406.02507 (a mixture
  in the plane as a test bed for guidance)
- Efron, *Tweedie's Formula and Selection Bias*, 2011

Noise turns a mixture into another one, ``sum_k w_k N(alpha m_k, (alpha^2 v_k + sigma^2) I)``, so all that a
network has to learn is known in closed form. With a standard deviation of 0 the modes may be the images of a
training set: the perfect model of those can do nothing but repeat them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from genimg_ref.data.toy2d import Mixture
from genimg_ref.diffusion.forward import like
from genimg_ref.diffusion.predict import Batch, Kind, Model, Prediction, express
from genimg_ref.diffusion.schedule import Level, Schedule

__all__ = ["GaussianMixture", "gaussian_flow"]


@dataclass(frozen=True)
class GaussianMixture:
    """Round Gaussians: ``p(x_0) = sum_k weights[k] N(means[k], std[k]^2 I)``.

    Args:
        means: a mode each, a vector or an image.
        std: of each mode, or of all; 0 for points.
        weights: of the modes; equal if not given. They are divided by their sum.
        labels: the class of each mode, ``0 ... n - 1``, for models that take a condition.

    Raises:
        ValueError: for no modes, a negative ``std``, weights not above zero, or numbers of them that differ.
    """

    means: Float[Tensor, "modes *shape"]
    std: float | Float[Tensor, " modes"]
    weights: Float[Tensor, " modes"] | None = None
    labels: Int[Tensor, " modes"] | None = None

    def __post_init__(self) -> None:
        if self.means.ndim < 2 or len(self.means) == 0:
            raise ValueError(f"means must be one or more vectors or images; got {tuple(self.means.shape)}")
        for name, value in (("std", self.std), ("weights", self.weights), ("labels", self.labels)):
            if isinstance(value, Tensor) and value.shape != self.means.shape[:1]:
                raise ValueError(
                    f"{name} must be {len(self.means)}, one a mode; got shape {tuple(value.shape)}"
                )
        if not bool((torch.as_tensor(self.std) >= 0).all()):
            raise ValueError(f"std must be 0 or more; got {self.std}")
        if self.weights is not None and not bool((self.weights > 0).all()):
            raise ValueError(f"weights must be above zero; got {self.weights.tolist()}")

    @classmethod
    def of(cls, mixture: Mixture) -> "GaussianMixture":
        """The same as a toy mixture of the plane, ``ring`` or ``grid``."""
        return cls(mixture.means, mixture.std)

    def sample(self, count: int, rng: torch.Generator) -> Float[Tensor, "count *shape"]:
        """Draws of ``x_0``, in the dtype and on the device of ``means``.

        Raises:
            ValueError: for a count below 1.
        """
        if count < 1:
            raise ValueError(f"count must be 1 or more; got {count}")
        weights = torch.ones(len(self.means)) if self.weights is None else self.weights.float().cpu()
        mode = torch.multinomial(weights.to(rng.device), count, replacement=True, generator=rng)
        mean, std = self.means[mode.to(self.means.device)], self._std(self.means)[mode.to(self.means.device)]
        noise = torch.randn(mean.shape, generator=rng, device=rng.device, dtype=mean.dtype)
        return mean + like(std, mean) * noise.to(mean.device)

    def log_prob(
        self, x: Batch, level: Level, labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """The log density of noisy ``x`` in nats, of all modes or of those with each row's label."""
        return self._joint(x, level, labels).logsumexp(dim=1)

    def predict(self, x: Batch, level: Level, labels: Int[Tensor, " batch"] | None = None) -> Prediction:
        """``E[x_0 | x_t]`` and ``E[eps | x_t]``: what a perfect network says, of either kind.

        Each mode pulls with its share of the density at ``x``.
        """
        share = self._joint(x, level, labels).softmax(dim=1)
        variance, alpha = self._std(x).square(), like(level.alpha, x)
        total = self._variance(x, level)
        alpha_row = level.alpha.to(x).reshape(-1, 1)
        means = self.means.to(x).flatten(1)

        def pulled(pull: Tensor) -> Tensor:
            """``sum_k share_k pull_k (x - alpha m_k)``."""
            force = share * pull
            to_modes = (force @ means).view_as(x)
            return like(force.sum(dim=1), x) * x - alpha * to_modes

        x0 = (share @ means).view_as(x) + pulled(alpha_row * variance / total)
        return Prediction(x0, like(level.sigma, x) * pulled(1 / total))

    def score(
        self, x: Batch, level: Level, labels: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch *shape"]:
        """The gradient of :meth:`log_prob` with regard to ``x``."""
        return express(self.predict(x, level, labels), level, "score")

    def model(self, schedule: Schedule, kind: Kind = "eps") -> Model:
        """A perfect network, ``model(x, t)`` or ``model(x, t, labels)``, where the label ``n`` means none."""

        def model(x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
            level = schedule(t)
            return express(self.predict(x, level, labels), level, kind)

        return model

    def _std(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.std).to(x).expand(len(self.means))

    def _variance(self, x: Tensor, level: Level) -> Tensor:
        """``alpha^2 v_k + sigma^2``: a row of modes for each of ``x``, or one row for all."""
        alpha, sigma = (part.to(x).reshape(-1, 1) for part in level)
        return alpha.square() * self._std(x).square() + sigma.square()

    def _joint(self, x: Tensor, level: Level, labels: Tensor | None) -> Tensor:
        """``log w_k N(x; ...)`` of each row and mode; weights add up to 1 over the modes of a row's label."""
        weights = torch.ones_like(self._std(x)) if self.weights is None else self.weights.to(x)
        log_weight = weights.log().expand(len(x), -1)
        if labels is not None:
            if self.labels is None:
                raise ValueError("labels must be None for a mixture whose modes have none")
            own = self.labels.to(x.device)
            allowed = (labels[:, None] == own) | (labels[:, None] == own.max() + 1)
            log_weight = log_weight.masked_fill(~allowed, -torch.inf)
        log_weight = log_weight.log_softmax(dim=1)
        variance = self._variance(x, level)
        flat, means = x.flatten(1), self.means.to(x).flatten(1)
        alpha = level.alpha.to(x).reshape(-1, 1).clamp(min=1e-12)  # |x - alpha m| = alpha |x / alpha - m|
        gaps = alpha * torch.cdist(flat / alpha, means, compute_mode="donot_use_mm_for_euclid_dist")
        log_norm = flat.shape[1] * (2 * torch.pi * variance).log()
        return log_weight - 0.5 * (gaps.square() / variance + log_norm)


def gaussian_flow(x: Batch, mean: Float[Tensor, "*shape"], std: float, s: Level, t: Level) -> Batch:
    """Where the probability flow takes ``x`` from ``t`` to ``s``, if the data are ``N(mean, std^2 I)``.

    The distance from the mean stays the same number of standard deviations, ``sqrt(alpha^2 std^2 +
    sigma^2)``.
    """
    width_s, width_t = ((level.alpha.square() * std**2 + level.sigma.square()).sqrt() for level in (s, t))
    return like(s.alpha, x) * mean + like(width_s / width_t, x) * (x - like(t.alpha, x) * mean)
