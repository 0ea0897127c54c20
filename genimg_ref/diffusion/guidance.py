"""Guidance: one model made of another, which leans towards a condition.

Chapter: guidance

Papers:

- Dhariwal and Nichol, *Diffusion Models Beat GANs on Image Synthesis*, 2021, arXiv:2105.05233 (by a
  classifier; algorithm 2)
- Ho and Salimans, *Classifier-Free Diffusion Guidance*, 2022, arXiv:2207.12598
- Kynkäänniemi et al., *Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in
  Diffusion Models*, 2024, arXiv:2404.07724
- Lin et al., *Common Diffusion Noise Schedules and Sample Steps are Flawed*, 2023, arXiv:2305.08891 (section
  3.4, rescaling)

Guidance of scale ``w`` samples, roughly, from ``p(x) p(y | x)^w``. The scale is counted so that 1 is no
guidance, the plain conditional model; 0 is the unconditional one. Ho and Salimans count from 0 what is
counted from 1 here. Each function here returns a model ``model(x, t)`` that any sampler can be handed.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from genimg_ref.diffusion.predict import Batch, Kind, Model, call, express, interpret
from genimg_ref.diffusion.schedule import Schedule

__all__ = ["classifier_free", "classifier_guided", "guide", "rescaled", "with_condition"]


def with_condition(model: Model, condition: Shaped[Tensor, "batch ..."]) -> Model:
    """``model(x, t)`` that is always told this condition."""
    return lambda x, t: call(model, x, t, condition)


def guide(unconditional: Batch, conditional: Batch, scale: float | Float[Tensor, "batch *ones"]) -> Batch:
    """``u + w (c - u)``: from the unconditional prediction to the conditional one, and beyond for ``w > 1``.

    Ho and Salimans (2022), whose scale is ``w - 1``. Any kind of prediction will do, since all depend
    linearly on each other.
    """
    return unconditional + scale * (conditional - unconditional)


def rescaled(guided: Batch, conditional: Batch, amount: float) -> Batch:
    """The guided prediction with (a part of) the standard deviation that the conditional one has.

    Guidance makes predictions larger, and images too bright and too dark. ``amount`` 0 leaves it so, 1
    restores the standard deviation of each image, 0.7 is what Lin et al. (2023, section 3.4) recommend.
    """
    axes = tuple(range(1, guided.ndim))
    before, after = (part.std(dim=axes, keepdim=True, correction=0) for part in (conditional, guided))
    ratio = torch.where(after > 0, before / after, torch.ones_like(after))  # an even image stays as it is
    return guided * (amount * ratio + (1 - amount))


def classifier_free(
    model: Model,
    condition: Shaped[Tensor, "batch *row"],
    negative: int | Shaped[Tensor, "*row"] | Shaped[Tensor, "batch *row"],
    scale: float,
    *,
    interval: tuple[float, float] | None = None,
    rescale: float = 0.0,
) -> Model:
    """Classifier-free guidance: towards ``condition``, away from ``negative``; two calls of the model in one.

    Args:
        model: ``model(x, t, condition)``, trained with conditions dropped at random.
        condition: a row for each image.
        negative: what stood for a dropped condition, or what the image shall not be: one for all images, or a
            row for each.
        scale: 1 is no guidance, and then the model is not asked about ``negative``.
        interval: guide at times between these two, both included, and nowhere else (Kynkäänniemi et al.).
        rescale: the amount of :func:`rescaled`.

    Raises:
        ValueError: for a ``rescale`` outside [0, 1], or an interval that ends before it begins.
    """
    if not 0 <= rescale <= 1:
        raise ValueError(f"rescale must lie in [0, 1]; got {rescale}")
    if interval is not None and not interval[0] <= interval[1]:
        raise ValueError(f"interval must be the lower time, then the upper; got {interval}")
    other = torch.as_tensor(negative).to(condition).expand_as(condition)

    def guided(x: Tensor, t: Tensor) -> Tensor:
        low, high = interval or (-torch.inf, torch.inf)
        inside = ((t >= low) & (t <= high)).reshape(-1, *[1] * (x.ndim - 1))
        if scale == 1 or not inside.any():
            return call(model, x, t, condition)
        both = call(model, torch.cat([x, x]), torch.cat([t, t]), torch.cat([other, condition]))
        unconditional, conditional = both.chunk(2)
        found = rescaled(guide(unconditional, conditional, scale), conditional, rescale)
        return torch.where(inside, found, conditional)

    return guided


def classifier_guided(
    model: Model,
    log_prob: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    scale: float,
    kind: Kind = "eps",
) -> Model:
    """The score of an unconditional model, plus ``scale`` times the gradient of ``log p(y | x_t)``.

    Dhariwal and Nichol (2021), algorithm 2: ``eps - sigma scale gradient``. With 1 this is Bayes' rule.

    Args:
        log_prob: of ``(x, t)``, for each noisy image the log probability that a classifier gives its label.
    """

    def guided(x: Tensor, t: Tensor) -> Tensor:
        level = schedule(t)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_prob(leaf, t).sum(), leaf)
        output = call(model, x, t)
        if scale == 0:
            return output
        score = express(interpret(output, x, level, kind), level, "score") + scale * gradient
        return express(interpret(score, x, level, "score"), level, kind)

    return guided
