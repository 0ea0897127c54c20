"""The exercises of the chapter gan_math, in the order of the text."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from genimg_ref.exercises.engine import Case, Exercise, call, net, optimiser
from genimg_ref.gan import divergences
from genimg_ref.gan.losses import LOSSES
from genimg_ref.gan.steps import update_d, update_g
from genimg_ref.metrics.modes import mode_coverage

Rng = np.random.Generator


# --- The optimal discriminator ------------------------------------------------------------------------


def _optimal_discriminator_cases(rng: Rng) -> Iterator[Case]:
    p, q = rng.uniform(0.1, 2, size=(2, 7)).astype("float32")
    yield call("two densities on a line", p_data=p, p_g=q)
    p, q = rng.uniform(0.1, 3, size=(2, 4, 5)).astype("float32")
    p[0, :3], q[0, 2:4], p[1], q[1, 1:3] = 0, 0, 0, 0
    yield call("a grid on which the densities vanish here and there", p_data=p, p_g=q)
    for where, size in (("far out in the tails", 1e-30), ("farther out still", 1e-36)):
        p, q = (rng.uniform(0.1, 2, size=(2, 6)) * size).astype("float32")
        yield call(where, p_data=p, p_g=q)
    p = rng.uniform(0.1, 2, size=(3, 2)).astype("float32")
    yield call("two equal densities", p_data=p, p_g=p)


optimal_discriminator = Exercise(
    points=1, minutes=8, reference=divergences.optimal_discriminator, cases=_optimal_discriminator_cases
)


@optimal_discriminator.mistake(
    "The roles are exchanged: `D` is the probability that a point is real, so it should rise where the "
    "data are dense. Which of the two densities does yours follow?"
)
def of_being_fake(p_data: Tensor, p_g: Tensor) -> Tensor:
    return 1 - divergences.optimal_discriminator(p_data, p_g)


@optimal_discriminator.mistake(
    "That is the ratio of the densities, which runs from 0 to infinity. A probability has to end at 1: "
    "go back to the line where the derivative is set to zero, and solve it for `D`."
)
def density_ratio(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_data / p_g


@optimal_discriminator.mistake(
    "The formula is right wherever there is any density. Where both vanish it reads 0/0: the task says "
    "what to answer there."
)
def nought_by_nought(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_data / (p_data + p_g)


@optimal_discriminator.mistake(
    "A small constant in the denominator is not small everywhere: it decides the answer in the tails, "
    "and where both densities vanish. Treat the one bad case by itself instead."
)
def small_constant(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_data / (p_data + p_g + 1e-8)


@optimal_discriminator.mistake(
    "Your constant, or your threshold, gives 1/2 where both densities vanish, as it should, but also in the "
    "tails, where densities are small and their ratio is not 1."
)
def small_constant_in_both(p_data: Tensor, p_g: Tensor) -> Tensor:
    return (p_data + 1e-8) / (p_data + p_g + 2e-8)


@optimal_discriminator.mistake(
    "The empty points are right; the constant still decides in the tails. After the `where` it is not needed."
)
def constant_in_spite_of_where(p_data: Tensor, p_g: Tensor) -> Tensor:
    total = p_data + p_g
    return torch.where(total == 0, torch.full_like(total, 0.5), p_data / (total + 1e-8))


@optimal_discriminator.mistake(
    "Where neither density has any mass you answer 0, “certainly generated”. Nothing speaks for that; "
    "the task asks for the answer that favours neither side."
)
def empty_is_fake(p_data: Tensor, p_g: Tensor) -> Tensor:
    return torch.nan_to_num(p_data / (p_data + p_g), nan=0.0)


@optimal_discriminator.mistake(
    "Where neither density has any mass you answer 1, “certainly real”. Nothing speaks for that; the "
    "task asks for the answer that favours neither side."
)
def empty_is_real(p_data: Tensor, p_g: Tensor) -> Tensor:
    return torch.nan_to_num(p_data / (p_data + p_g), nan=1.0)


@optimal_discriminator.mistake(
    "A yes or no is the best decision, but the game pays for probabilities: look at how sure `D*` is "
    "where the densities are nearly equal."
)
def hard_decision(p_data: Tensor, p_g: Tensor) -> Tensor:
    return torch.where(p_data == p_g, torch.full_like(p_data, 0.5), (p_data > p_g).to(p_data))


@optimal_discriminator.mistake(
    "That is the logit of `D*`, the log of the density ratio. One function turns it into the probability."
)
def the_logit(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_data.log() - p_g.log()


@optimal_discriminator.mistake(
    "These are values of densities at points, and need not sum to one: leave them as they are, or the "
    "two are scaled by different numbers."
)
def normalised_first(p_data: Tensor, p_g: Tensor) -> Tensor:
    return divergences.optimal_discriminator(p_data / p_data.sum(), p_g / p_g.sum())


@optimal_discriminator.also_right
def sigmoid_of_the_log_ratio(p_data: Tensor, p_g: Tensor) -> Tensor:
    return torch.nan_to_num(torch.sigmoid(p_data.log() - p_g.log()), nan=0.5)


@optimal_discriminator.also_right
def point_by_point(p_data: Tensor, p_g: Tensor) -> Tensor:
    values = [
        0.5 if p + q == 0 else p / (p + q)
        for p, q in zip(p_data.flatten().tolist(), p_g.flatten().tolist(), strict=True)
    ]
    return torch.tensor(values, dtype=p_data.dtype).reshape(p_data.shape)


# --- Jensen-Shannon -----------------------------------------------------------------------------------


def _jensen_shannon_cases(rng: Rng) -> Iterator[Case]:
    def pair(shape: tuple[int, ...], dx: float, *, zeros: bool) -> dict[str, Any]:
        p, q = rng.uniform(0.05, 1, size=(2, *shape)) ** 2
        if zeros:
            p.flat[:2], q.flat[1:4] = 0, 0
        return {
            "p": (p / p.sum() / dx).astype("float32"),
            "q": (q / q.sum() / dx).astype("float32"),
            "dx": dx,
        }

    yield call("positive densities on a line", **pair((9,), float(rng.uniform(0.1, 0.4)), zeros=False))
    yield call("a grid with zeros", **pair((3, 5), float(rng.uniform(0.1, 0.4)), zeros=True))
    p, q = np.zeros((2, 6), dtype="float32")
    p[:2], q[3:] = 1 / (2 * 0.25), 1 / (3 * 0.25)
    yield call("densities that nowhere overlap", p=p, q=q, dx=0.25)
    same = pair((7,), 0.2, zeros=False)["p"]
    yield call("two equal densities", p=same, q=same, dx=0.2)


jensen_shannon = Exercise(
    points=2, minutes=15, reference=divergences.js_divergence, cases=_jensen_shannon_cases
)


def _safe_kl(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return divergences.kl_divergence(p, q, dx)


@jensen_shannon.mistake(
    "You measure in bits: where the densities do not overlap you get 1 instead of log 2. Throughout the "
    "course the logarithm is the natural one."
)
def in_bits(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return divergences.js_divergence(p, q, dx) / math.log(2)


@jensen_shannon.mistake(
    "You add the two divergences where their mean is asked for: the factor 1/2 in front of each is missing."
)
def sum_of_both(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return 2 * divergences.js_divergence(p, q, dx)


@jensen_shannon.mistake(
    "You compare each density with the sum of both, which is no density: it has mass two. See what "
    "that does to two equal densities, whose divergence must be 0."
)
def against_the_sum(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return (_safe_kl(p, p + q, dx) + _safe_kl(q, p + q, dx)) / 2


@jensen_shannon.mistake(
    "You leave `dx` out. A sum over grid points becomes an integral only when each term is multiplied by "
    "the size of its cell."
)
def without_dx(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return divergences.js_divergence(p, q, 1.0)


@jensen_shannon.mistake(
    "You take the mean over the grid points where the integral is a sum times `dx`; the two agree only "
    "when the grid happens to have unit size."
)
def mean_over_the_grid(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return divergences.js_divergence(p, q, 1.0) / p.numel()


def _cells(p: Tensor, q: Tensor) -> Tensor:
    m = (p + q) / 2
    return (torch.xlogy(p, p) + torch.xlogy(q, q)) / 2 - torch.xlogy(m, m)


@jensen_shannon.mistake(
    "You use the trapezoidal rule, which counts the cells at the ends by half. Each value stands for a whole "
    "cell: add up and multiply by `dx`."
)
def trapezoids(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return torch.trapezoid(_cells(p, q).flatten(), dx=dx)


@jensen_shannon.mistake(
    "You use the trapezoidal rule, along the last axis alone, and it counts the cells at the ends by half. "
    "Each value stands for a whole cell: add all of them up and multiply by `dx`."
)
def trapezoids_along_an_axis(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return torch.trapezoid(_cells(p, q), dx=dx)


@jensen_shannon.mistake(
    "Right as long as no density is zero. Where one is, the computer meets 0 times log 0, which is NaN "
    "to it and 0 to the limit: that term has to be kept out of the sum, or be made zero."
)
def nought_times_log_nought(p: Tensor, q: Tensor, dx: float) -> Tensor:
    m = (p + q) / 2
    return ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) * dx / 2


@jensen_shannon.mistake(
    "You keep only the points at which both densities are positive. But where one vanishes and the "
    "other does not they differ most: only the vanishing one's own term is zero there."
)
def common_support_only(p: Tensor, q: Tensor, dx: float) -> Tensor:
    both = (p > 0) & (q > 0)
    m = (p + q) / 2
    terms = (p * (p / m).log() + q * (q / m).log())[both]
    return terms.sum() * dx / 2


@jensen_shannon.mistake(
    "That is the first half alone, the Kullback–Leibler divergence of `p` from the middle. The other "
    "density is compared with the middle too, and the result does not depend on their order."
)
def first_half_only(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return _safe_kl(p, (p + q) / 2, dx)


@jensen_shannon.mistake(
    "You compare the densities with each other. The symmetric Kullback–Leibler divergence so made is "
    "infinite as soon as one density vanishes where the other does not; Jensen and Shannon compare each "
    "with the middle."
)
def symmetric_kl(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return (_safe_kl(p, q, dx) + _safe_kl(q, p, dx)) / 2


@jensen_shannon.mistake(
    "You return the square root, which is the Jensen–Shannon distance (SciPy's function does so). The "
    "divergence is its square."
)
def the_distance(p: Tensor, q: Tensor, dx: float) -> Tensor:
    return divergences.js_divergence(p, q, dx).clamp(min=0).sqrt()


@jensen_shannon.mistake(
    "The order inside the divergences is turned round: the expectation is taken under `p` and under `q`, "
    "not under the middle. Which density stands in front of the logarithm?"
)
def under_the_middle(p: Tensor, q: Tensor, dx: float) -> Tensor:
    m = (p + q) / 2
    return (_safe_kl(m, p, dx) + _safe_kl(m, q, dx)) / 2


@jensen_shannon.also_right
def by_entropies(p: Tensor, q: Tensor, dx: float) -> Tensor:
    def entropy(density: Tensor) -> Tensor:
        return torch.special.entr(density).sum() * dx

    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


@jensen_shannon.also_right
def by_the_game(p: Tensor, q: Tensor, dx: float) -> Tensor:
    best = divergences.optimal_discriminator(p, q)
    return (divergences.game_value(best, p, q, dx) + math.log(4)) / 2


@jensen_shannon.also_right
def in_plain_python(p: Tensor, q: Tensor, dx: float) -> Tensor:
    total = 0.0
    for a, b in zip(p.flatten().tolist(), q.flatten().tolist(), strict=True):
        for c in (a, b):
            if c > 0:
                total += 0.5 * c * math.log(2 * c / (a + b)) * dx
    return torch.tensor(total)


@jensen_shannon.also_right
def with_a_small_constant(p: Tensor, q: Tensor, dx: float) -> Tensor:
    m = (p + q) / 2
    terms = p * ((p + 1e-12) / (m + 1e-12)).log() + q * ((q + 1e-12) / (m + 1e-12)).log()
    return terms.sum() * dx / 2


# --- The objective, mended ----------------------------------------------------------------------------


def _gan_objective_cases(rng: Rng) -> Iterator[Case]:
    real, fake = rng.normal(0.8, 1.5, size=5), rng.normal(-0.6, 1.5, size=8)
    yield call(
        "five real images, eight generated ones",
        gradients=["real_logits", "fake_logits"],
        real_logits=real.astype("float32"),
        fake_logits=fake.astype("float32"),
    )
    real, fake = rng.normal(-0.5, 2, size=(6, 1)), rng.normal(1, 2, size=(3, 1))
    yield call(
        "logits of shape (batch, 1)",
        gradients=["real_logits", "fake_logits"],
        real_logits=real.astype("float32"),
        fake_logits=fake.astype("float32"),
    )
    real, fake = rng.normal(0.5, 1, size=(3, 1, 2, 2)), rng.normal(0, 1, size=(2, 1, 2, 2))
    yield call(
        "a map of logits an image",
        gradients=["real_logits", "fake_logits"],
        real_logits=real.astype("float32"),
        fake_logits=fake.astype("float32"),
    )
    size = float(rng.uniform(200, 900))
    yield call(
        "a discriminator that is utterly sure, rightly or wrongly",
        gradients=["real_logits", "fake_logits"],
        real_logits=np.array([size, -size, 3.0], dtype="float32"),
        fake_logits=np.array([-1.1 * size, 0.9 * size, -2.0, 1.0], dtype="float32"),
    )


def _gan_objective(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    value = -LOSSES["minimax"].discriminator(real_logits, fake_logits)
    return torch.stack([-value, value])


gan_objective = Exercise(points=2, minutes=10, reference=_gan_objective, cases=_gan_objective_cases)


@gan_objective.mistake(
    "Still exchanged: as it stands, the discriminator is paid for mistaking fakes for real images, and "
    "the generator for being found out. Who of the two wants `V` large? And what is minimised by "
    "somebody who wants `V` large?"
)
def exchanged(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return -_gan_objective(real_logits, fake_logits)


@gan_objective.mistake(
    "The logits of real and generated images are exchanged inside `V`: the discriminator should gain by "
    "high logits on real images."
)
def arguments_exchanged(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return _gan_objective(fake_logits, real_logits)


@gan_objective.mistake(
    "The players are in their places now. But at logits such as 200 your loss is infinite: `exp` overflows "
    "or the sigmoid rounds to 1. PyTorch has functions that take the logarithm of a sigmoid in one go."
)
def probabilities_first(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    value = torch.sigmoid(real_logits).log().mean() + (1 - torch.sigmoid(fake_logits)).log().mean()
    return torch.stack([-value, value])


@gan_objective.mistake(
    "A small constant inside the logarithm keeps the loss finite, but caps it: where the discriminator "
    "errs most there is no gradient left. Work on the logits, where nothing has to be propped up."
)
def propped_up(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    real, fake = torch.sigmoid(real_logits), torch.sigmoid(fake_logits)
    value = (real + 1e-8).log().mean() + (1 - fake + 1e-8).log().mean()
    return torch.stack([-value, value])


@gan_objective.mistake(
    "One of the two logarithms is still taken of a probability: that of the generated images. Treat it as "
    "you did the other."
)
def fake_term_of_probabilities(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    value = F.logsigmoid(real_logits).mean() + (1 - torch.sigmoid(fake_logits)).log().mean()
    return torch.stack([-value, value])


@gan_objective.mistake(
    "One of the two logarithms is still taken of a probability: that of the real images. Treat it as you "
    "did the other."
)
def real_term_of_probabilities(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    value = torch.sigmoid(real_logits).log().mean() + F.logsigmoid(-fake_logits).mean()
    return torch.stack([-value, value])


@gan_objective.mistake(
    "You divide the sum by the length of the first axis. Where an image has a whole map of logits that is "
    "no mean: the expectation runs over all of them."
)
def sum_over_maps(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    real, fake = F.softplus(-real_logits).sum(), F.softplus(fake_logits).sum()
    loss = real / len(real_logits) + fake / len(fake_logits)
    return torch.stack([loss, -loss])


@gan_objective.mistake(
    "Your generator minimises the non-saturating loss. It is the better one in practice, but it is not "
    "this game: here both players share one `V`, and their losses add up to zero."
)
def non_saturating_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    pair = LOSSES["non_saturating"]
    return torch.stack([pair.discriminator(real_logits, fake_logits), pair.generator(fake_logits)])


@gan_objective.mistake(
    "Your generator's loss lacks the term of the real images. The generator cannot change it, so its "
    "gradient is right, but the task asks for the whole `V`, so that the two losses add up to zero."
)
def generator_without_the_real_term(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    pair = LOSSES["minimax"]
    return torch.stack([pair.discriminator(real_logits, fake_logits), pair.generator(fake_logits)])


@gan_objective.mistake(
    "Both players minimise the same thing, so they work together. In a zero-sum game one's gain is the "
    "other's loss."
)
def allies(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    value = LOSSES["minimax"].discriminator(real_logits, fake_logits)
    return torch.stack([value, value])


@gan_objective.mistake(
    "You take one mean over all images together. `V` is a sum of two expectations, each over its own "
    "distribution: eight fakes must not outvote five real images."
)
def one_mean(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    value = torch.cat([F.logsigmoid(real_logits), F.logsigmoid(-fake_logits)]).mean()
    return torch.stack([-value, value])


@gan_objective.mistake(
    "You halve `V`, as one does for the mean of two losses. That is harmless in training, but it is not "
    "the value of the game, whose two expectations are simply added."
)
def halved(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return _gan_objective(real_logits, fake_logits) / 2


@gan_objective.mistake(
    "You add up over the batch where the expectation asks for a mean: with twice the batch the loss "
    "should not double."
)
def sums(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    value = F.logsigmoid(real_logits).sum() + F.logsigmoid(-fake_logits).sum()
    return torch.stack([-value, value])


@gan_objective.mistake(
    "The sigmoid is applied twice: functions “with logits” apply it themselves, so feed them the logits."
)
def sigmoid_twice(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return _gan_objective(real_logits.sigmoid(), fake_logits.sigmoid())


@gan_objective.mistake(
    "For generated images `V` contains the logarithm of `1 - D`; yours contains one minus the logarithm "
    "of `D`, or minus the logarithm of `D`. What is `1 - sigmoid(a)`, as a sigmoid?"
)
def minus_log(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    value = F.logsigmoid(real_logits).mean() - F.logsigmoid(fake_logits).mean()
    return torch.stack([-value, value])


@gan_objective.also_right
def by_cross_entropy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    bce = F.binary_cross_entropy_with_logits
    loss = bce(real_logits, torch.ones_like(real_logits)) + bce(fake_logits, torch.zeros_like(fake_logits))
    return torch.stack([loss, -loss])


@gan_objective.also_right
def by_logaddexp(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    zero = torch.zeros(())
    loss = torch.logaddexp(zero, -real_logits).mean() + torch.logaddexp(zero, fake_logits).mean()
    return torch.stack((loss, -loss))


@gan_objective.also_right
def by_logsigmoid(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    value = F.logsigmoid(real_logits).mean() + (F.logsigmoid(fake_logits) - fake_logits).mean()
    return value * torch.tensor([-1.0, 1.0])


# --- Gradients with regard to the logit ---------------------------------------------------------------


def _generator_logit_gradients_cases(rng: Rng) -> Iterator[Case]:
    yield call("six logits", logits=rng.normal(0.5, 2, size=6).astype("float32"))
    yield call("logits of both signs, up to 500", logits=np.array([-500, -20, 0, 20, 500], dtype="float32"))
    logits = rng.normal(-3, 1, size=3).astype("float32")
    yield call("three fakes that were found out", logits=logits)
    yield call("a single logit", logits=rng.normal(0, 1, size=1).astype("float32"))


def _generator_logit_gradients(logits: Tensor) -> Tensor:
    a = logits.detach().clone().requires_grad_()
    rows = [torch.autograd.grad(LOSSES[n].generator(a), a)[0] for n in ("minimax", "non_saturating")]
    return torch.stack(rows) * len(logits)


generator_logit_gradients = Exercise(
    points=2, minutes=12, reference=_generator_logit_gradients, cases=_generator_logit_gradients_cases
)


@generator_logit_gradients.mistake(
    "The rows are exchanged. Where a fake is found out (very negative logits), which of the two losses "
    "still pushes?"
)
def rows_exchanged(logits: Tensor) -> Tensor:
    return torch.stack([logits.sigmoid() - 1, -logits.sigmoid()])


@generator_logit_gradients.mistake(
    "The sizes are right, the sign is not: both losses fall when the logit rises, so both derivatives "
    "are negative."
)
def wrong_sign(logits: Tensor) -> Tensor:
    return torch.stack([logits.sigmoid(), 1 - logits.sigmoid()])


@generator_logit_gradients.mistake(
    "Those are the derivatives with regard to the probability `D`. The chain rule has one factor more, "
    "`dD/dlogit = D(1 - D)`, and it changes everything."
)
def by_probability(logits: Tensor) -> Tensor:
    d = logits.sigmoid()
    return torch.stack([-1 / (1 - d), -1 / d])


@generator_logit_gradients.mistake(
    "That is `dD/dlogit`, the derivative of the sigmoid, in both rows: the derivative "
    "of the logarithm is still to be multiplied on."
)
def inner_derivative_only(logits: Tensor) -> Tensor:
    d = logits.sigmoid()
    return torch.stack([-d * (1 - d), -d * (1 - d)])


@generator_logit_gradients.mistake(
    "You divide by the number of logits. That belongs to the mean over a batch; here each logit has a "
    "loss of its own."
)
def of_the_mean(logits: Tensor) -> Tensor:
    return torch.stack([-logits.sigmoid(), logits.sigmoid() - 1]) / len(logits)


@generator_logit_gradients.mistake("Those are the losses themselves, not their derivatives.")
def the_losses(logits: Tensor) -> Tensor:
    return torch.stack([-F.softplus(logits), F.softplus(-logits)])


@generator_logit_gradients.mistake(
    "Your first row is that of `-log(1 - D)`: the loss which the discriminator minimises on a fake. "
    "The generator minimises its negative."
)
def first_sign_only(logits: Tensor) -> Tensor:
    return torch.stack([logits.sigmoid(), logits.sigmoid() - 1])


@generator_logit_gradients.mistake(
    "`D(1-D)/(1-D)`, written out or by autograd, is 0/0 at large logits. Cancel on paper first."
)
def autograd_through_log(logits: Tensor) -> Tensor:
    a = logits.detach().clone().requires_grad_()
    losses = (1 - a.sigmoid()).log(), -a.sigmoid().log()
    return torch.stack([torch.autograd.grad(loss.sum(), a)[0] for loss in losses])


@generator_logit_gradients.mistake(
    "Both rows are the same. The second loss is `-log D`: differentiate it anew, its factor `D(1-D)` "
    "cancels against another term than in the first."
)
def saturating_twice(logits: Tensor) -> Tensor:
    return torch.stack([-logits.sigmoid(), -logits.sigmoid()])


@generator_logit_gradients.also_right
def closed_form(logits: Tensor) -> Tensor:
    return torch.stack([-torch.sigmoid(logits), -torch.sigmoid(-logits)])


@generator_logit_gradients.also_right
def by_tanh(logits: Tensor) -> Tensor:
    t = torch.tanh(logits / 2)
    return -torch.stack((1 + t, 1 - t)) / 2


@generator_logit_gradients.also_right
def autograd_through_logsigmoid(logits: Tensor) -> Tensor:
    a = logits.detach().clone().requires_grad_()
    losses = F.logsigmoid(-a), -F.logsigmoid(a)
    return torch.stack([torch.autograd.grad(loss.sum(), a)[0] for loss in losses])


# --- One step of each player --------------------------------------------------------------------------


def _players(rng: Rng) -> dict[str, dict[str, object]]:
    return {
        "generator": net(rng, ["Linear", 3, 6], ["Tanh"], ["Linear", 6, 2], scale=0.8),
        "discriminator": net(rng, ["Linear", 2, 5], ["LeakyReLU", 0.2], ["Linear", 5, 1], scale=0.8),
    }


def _normal(rng: Rng, mean: float, *shape: int) -> np.ndarray:
    return rng.normal(mean, 1, size=shape).astype("float32")


MOMENTUM: dict[str, Any] = {"lr": 0.1, "momentum": 0.9}


def _very_sure(players: dict[str, Any], shift: float) -> dict[str, Any]:
    """The same players, the discriminator's logits 400 times as large and then moved by ``shift``."""
    first, bias, last, last_bias = players["discriminator"]["state"]
    state = [first, bias, 400 * last, 400 * last_bias + np.float32(shift)]
    return {**players, "discriminator": {**players["discriminator"], "state": state}}


def _discriminator_step_cases(rng: Rng) -> Iterator[Case]:
    def case(
        label: str, players: dict[str, Any], options: dict[str, Any], *, repeat: int = 1, stale: bool = False
    ) -> Case:
        return call(
            label,
            net_gradients=["generator"],
            stale=["discriminator"] if stale else [],
            repeat=repeat,
            **players,
            optimiser=optimiser("discriminator", **options),
            real=_normal(rng, 1.0, 5, 2),
            z=_normal(rng, 0.0, 7, 3),
        )

    yield case("one step", _players(rng), {"lr": 0.2})
    yield case("three steps in a row, with momentum", _players(rng), MOMENTUM, repeat=3)
    yield case("old gradients in the discriminator", _players(rng), {"lr": 0.2}, stale=True)
    for kind, shift in (("a fake", -2000.0), ("real", 2000.0)):
        label = f"a discriminator that is very sure that everything is {kind}"
        yield case(label, _very_sure(_players(rng), shift), {"lr": 0.001})


def _discriminator_step(
    generator: nn.Module, discriminator: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor
) -> float:
    return update_d(generator, discriminator, optimiser, real, z, LOSSES["minimax"]).loss


discriminator_step = Exercise(
    points=2, minutes=15, reference=_discriminator_step, cases=_discriminator_step_cases
)


def _d_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


@discriminator_step.mistake(
    "The discriminator moves as it should, but gradients are left in the generator: the fakes still "
    "hang on the graph that made them. One word cuts them off."
)
def no_detach(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = _d_loss(d(real), d(g(z)))
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "Gradients that are there already, as those of an earlier step are, are added to. They have to be "
    "cleared before `backward`."
)
def no_zero_grad(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    loss = _d_loss(d(real), d(g(z).detach()))
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "Later steps are not right, and gradients are left in the generator. Two things are missing: cutting "
    "the fakes off from the generator, and clearing the old gradients before `backward`."
)
def neither_detach_nor_zero_grad(
    g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor
) -> float:
    loss = _d_loss(d(real), d(g(z)))
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "The labels are exchanged: your discriminator learns to call generated points real. High logits "
    "belong to real points."
)
def labels_exchanged(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = _d_loss(d(g(z).detach()), d(real))
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "The loss is right but the discriminator does not move. Gradients alone change no weight: the optimiser "
    "has to step, after `backward`, and the gradients must not be cleared in between."
)
def no_step(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = _d_loss(d(real), d(g(z).detach()))
    loss.backward()
    return loss.item()


@discriminator_step.mistake(
    "The optimiser steps before the new gradient is there, so each step follows the gradient of the call "
    "before. Clear, then `backward`, then `step`."
)
def step_too_early(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    loss = _d_loss(d(real), d(g(z).detach()))
    new = torch.autograd.grad(loss, list(d.parameters()))
    optimiser.step()
    for p, gradient in zip(d.parameters(), new, strict=True):
        p.grad = gradient
    return loss.item()


@discriminator_step.mistake(
    "You minimise `V` itself, where the discriminator wants it large: the optimiser goes downhill, so "
    "hand it `-V`."
)
def minimises_the_value(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = -_d_loss(d(real), d(g(z).detach()))
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "Your discriminator sees only generated points. Without the real ones it learns to call everything a "
    "fake."
)
def fakes_only(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = F.softplus(d(g(z).detach())).mean()
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "You take one mean over real and generated points together. The two expectations are added, each a "
    "mean over its own batch."
)
def one_batch(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad()
    logits = torch.cat([-d(real), d(g(z).detach())])
    loss = F.softplus(logits).mean()
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "You halve the sum of the two losses. Many programs do, but the loss asked for is `-V`, so the step "
    "comes out half as long."
)
def half_the_loss(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = _d_loss(d(real), d(g(z).detach())) / 2
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "The sigmoid is applied twice: the discriminator returns logits, and a loss “with logits” applies "
    "the sigmoid itself."
)
def squashed_twice(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = _d_loss(d(real).sigmoid(), d(g(z).detach()).sigmoid())
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "The fakes get no training signal: you detached the discriminator's logits, where only its input "
    "should be cut off."
)
def detached_logits(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = _d_loss(d(real), d(g(z)).detach())
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "You clear the gradients after the step. What somebody else has left there before your first one is "
    "still added: clear before `backward`."
)
def cleared_afterwards(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    loss = _d_loss(d(real), d(g(z).detach()))
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return loss.item()


@discriminator_step.mistake(
    "At logits such as 200 your loss is infinite: `exp` overflows or the sigmoid rounds to 1. PyTorch has "
    "functions that take the logarithm of a sigmoid in one go."
)
def of_probabilities(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    on_real, on_fake = d(real).sigmoid(), d(g(z).detach()).sigmoid()
    loss = -on_real.log().mean() - (1 - on_fake).log().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "A small constant inside the logarithm keeps the loss finite, but caps it: where the discriminator "
    "errs most there is no gradient left. Work on the logits, where nothing has to be propped up."
)
def propped_up_probabilities(
    g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor
) -> float:
    on_real, on_fake = d(real).sigmoid(), d(g(z).detach()).sigmoid()
    loss = -(on_real + 1e-8).log().mean() - (1 - on_fake + 1e-8).log().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "`binary_cross_entropy` on probabilities cuts the logarithm off at -100: where the discriminator errs "
    "most there is no gradient left. Use the loss “with logits”."
)
def cross_entropy_of_probabilities(
    g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor
) -> float:
    on_real, on_fake = d(real).sigmoid(), d(g(z).detach()).sigmoid()
    bce = F.binary_cross_entropy
    loss = bce(on_real, torch.ones_like(on_real)) + bce(on_fake, torch.zeros_like(on_fake))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake(
    "Your step is that of plain gradient descent. The optimiser you are given may be another, or keep a "
    "momentum: leave the step to it."
)
def by_hand(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    loss = _d_loss(d(real), d(g(z).detach()))
    optimiser.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in d.parameters():
            p.sub_(optimiser.param_groups[0]["lr"] * p.grad)
    return loss.item()


@discriminator_step.mistake(
    "You switched off the generator's gradients and did not switch them on again: its own step will no "
    "longer move it."
)
def left_frozen(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    g.requires_grad_(False)
    loss = _d_loss(d(real), d(g(z)))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.mistake("That is the loss after the step; keep the one you called `backward` on.")
def loss_afterwards(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    fake = g(z).detach()
    optimiser.zero_grad()
    _d_loss(d(real), d(fake)).backward()
    optimiser.step()
    return _d_loss(d(real), d(fake)).item()


@discriminator_step.also_right
def without_grad(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    with torch.no_grad():
        fake = g(z)
    real_logits, fake_logits = d(real), d(fake)
    bce = F.binary_cross_entropy_with_logits
    loss = bce(real_logits, torch.ones_like(real_logits)) + bce(fake_logits, torch.zeros_like(fake_logits))
    d.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@discriminator_step.also_right
def two_backwards(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    optimiser.zero_grad(set_to_none=False)
    on_real = -F.logsigmoid(d(real)).mean()
    on_real.backward()
    on_fake = -F.logsigmoid(-d(g(z).detach())).mean()
    on_fake.backward()
    optimiser.step()
    return on_real.item() + on_fake.item()


@discriminator_step.also_right
def tidied_afterwards(g: nn.Module, d: nn.Module, optimiser: Optimizer, real: Tensor, z: Tensor) -> float:
    d.zero_grad()
    loss = _d_loss(d(real), d(g(z)))
    loss.backward()
    optimiser.step()
    g.zero_grad()
    return loss.item()


def _generator_step_cases(rng: Rng) -> Iterator[Case]:
    def case(
        label: str, players: dict[str, Any], options: dict[str, Any], *, repeat: int = 1, stale: bool = False
    ) -> Case:
        return call(
            label,
            stale=["generator"] if stale else [],
            repeat=repeat,
            **players,
            optimiser=optimiser("generator", **options),
            z=_normal(rng, 0.0, 7, 3),
        )

    yield case("one step", _players(rng), {"lr": 0.2})
    yield case("three steps in a row, with momentum", _players(rng), MOMENTUM, repeat=3)
    yield case("old gradients in the generator", _players(rng), {"lr": 0.2}, stale=True)
    yield case(
        "a discriminator that is very sure of fakes", _very_sure(_players(rng), shift=-2000.0), {"lr": 0.0005}
    )


def _generator_step(generator: nn.Module, discriminator: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    return update_g(generator, discriminator, optimiser, z, LOSSES["non_saturating"]).loss


generator_step = Exercise(points=2, minutes=10, reference=_generator_step, cases=_generator_step_cases)


@generator_step.mistake(
    "The generator does not move. Does a gradient find its way back to it? A `detach`, right in the "
    "discriminator's step, is fatal here. And does the optimiser step, after `backward`?"
)
def detached(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = F.softplus(-d(g(z).detach())).mean()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "That is the saturating loss, `log(1 - D)`. Asked for is the one that does not starve the "
    "generator, `-log D`."
)
def saturating(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = -F.softplus(d(g(z))).mean()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "Your generator is trained with the discriminator's label “fake”: it learns to be found out. Which "
    "label does it want its samples to get?"
)
def label_fake(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = F.softplus(d(g(z))).mean()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "The sign of the loss is wrong: you minimise `log D`, so the generator walks away from what the "
    "discriminator takes for real."
)
def uphill(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = -F.softplus(-d(g(z))).mean()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "The first step is right, later ones are not: the gradients of the step before are added to the new ones."
)
def gradients_add_up(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    loss = F.softplus(-d(g(z))).mean()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "The discriminator has moved too. In this step it is only a judge: move nothing but the generator."
)
def moves_the_judge(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    optimiser.zero_grad()
    d.zero_grad()
    loss = F.softplus(-d(g(z))).mean()
    loss.backward()
    optimiser.step()
    with torch.no_grad():
        for p in d.parameters():
            if p.grad is not None:
                p.sub_(0.2 * p.grad)
    return loss.item()


@generator_step.mistake(
    "The sigmoid is applied twice: the discriminator returns logits, and a loss “with logits” applies "
    "the sigmoid itself."
)
def squashed_judgement(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = F.softplus(-d(g(z)).sigmoid()).mean()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "You add up over the batch; take the mean, so that the length of the step does not depend on the batch."
)
def sum_over_the_batch(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = F.softplus(-d(g(z))).sum()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "You maximise the mean logit. That is the Wasserstein loss; this exercise asks for `-log D`, where `D` "
    "is the sigmoid of the logit."
)
def mean_logit(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    optimiser.zero_grad()
    loss = -d(g(z)).mean()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "You clear the gradients after the step. What somebody else has left there before your first one is "
    "still added: clear before `backward`."
)
def gradients_cleared_afterwards(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    loss = F.softplus(-d(g(z))).mean()
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    return loss.item()


@generator_step.mistake(
    "At logits such as -200 your loss is infinite: `exp` overflows or the sigmoid rounds to 0. PyTorch has "
    "functions that take the logarithm of a sigmoid in one go."
)
def of_the_probability(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    loss = -d(g(z)).sigmoid().log().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "A small constant inside the logarithm keeps the loss finite, but caps it: a sample that is surely found "
    "out has no gradient left. Work on the logits, where nothing has to be propped up."
)
def propped_up_probability(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    loss = -(d(g(z)).sigmoid() + 1e-8).log().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "`binary_cross_entropy` on probabilities cuts the logarithm off at -100: a sample that is surely found "
    "out has no gradient left. Use the loss “with logits”."
)
def cross_entropy_of_the_probability(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    verdict = d(g(z)).sigmoid()
    loss = F.binary_cross_entropy(verdict, torch.ones_like(verdict))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake(
    "Your step is that of plain gradient descent. The optimiser you are given may be another, or keep a "
    "momentum: leave the step to it."
)
def moved_by_hand(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    loss = F.softplus(-d(g(z))).mean()
    optimiser.zero_grad()
    loss.backward()
    with torch.no_grad():
        for p in g.parameters():
            p.sub_(optimiser.param_groups[0]["lr"] * p.grad)
    return loss.item()


@generator_step.mistake(
    "You switched off the discriminator's gradients and did not switch them on again: its own step will no "
    "longer move it."
)
def judge_left_frozen(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    d.requires_grad_(False)
    loss = F.softplus(-d(g(z))).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.mistake("That is the loss after the step; keep the one you called `backward` on.")
def judged_afterwards(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    optimiser.zero_grad()
    F.softplus(-d(g(z))).mean().backward()
    optimiser.step()
    return F.softplus(-d(g(z))).mean().item()


@generator_step.also_right
def real_label(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    g.zero_grad()
    logits = d(g(z))
    loss = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))
    loss.backward()
    optimiser.step()
    return loss.item()


@generator_step.also_right
def frozen_judge(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    d.requires_grad_(False)
    optimiser.zero_grad()
    loss = -F.logsigmoid(d(g(z))).mean()
    loss.backward()
    optimiser.step()
    d.requires_grad_(True)
    return loss.item()


@generator_step.also_right
def in_two_halves(g: nn.Module, d: nn.Module, optimiser: Optimizer, z: Tensor) -> float:
    fake = g(z)
    leaf = fake.detach().requires_grad_()
    loss = torch.logaddexp(torch.zeros(()), -d(leaf)).mean()
    (at_the_sample,) = torch.autograd.grad(loss, leaf)
    optimiser.zero_grad()
    fake.backward(at_the_sample)
    optimiser.step()
    return loss.item()


# --- Modes covered ------------------------------------------------------------------------------------


def _modes_covered_cases(rng: Rng) -> Iterator[Case]:
    means = np.array([[0, 0], [4, 1], [-3, 4], [5, -5], [-6, -2]]) + rng.normal(0, 0.1, size=(5, 2))
    std = float(rng.uniform(0.1, 0.15))
    # in units of std and on the diagonal: inside, outside the circle but inside its box, far off
    radii = {0: [3.6, 3.8, 3.9], 1: [0.3, 0.8, 1.4, 2.0], 2: [9.0], 3: [2.5, 2.8], 4: [3.7]}
    diagonal = np.array([np.sqrt(0.5), np.sqrt(0.5)])
    points = [means[k] + r * std * diagonal for k, rs in radii.items() for r in rs]
    points.append(means[4] + 3.5 * std * np.array([1, 0]))
    yield call(
        "five modes in the plane",
        samples=rng.permutation(points).astype("float32"),
        means=means.astype("float32"),
        std=std,
    )
    means = np.array([[0, 0, 0], [1, 0, 0], [6, 6, 6]]) + rng.normal(0, 0.02, size=(3, 3))
    near = [
        [0.1, 0, 0],
        [0.2, 0.1, 0],
        [0.3, -0.1, 0.1],
        [9, 9, 9],
        [0.2, 0.3, 0],
        [6, 6, 7.36],
        [6, 6.3, 8.2],
    ]
    yield call(
        "three wide modes in space, two of which overlap",
        samples=(np.array(near) + rng.normal(0, 0.02, size=(7, 3))).astype("float32"),
        means=means.astype("float32"),
        std=0.5,
    )
    yield call(
        "samples which are all far off",
        samples=rng.uniform(20, 30, size=(4, 2)).astype("float32"),
        means=rng.normal(size=(6, 2)).astype("float32"),
        std=0.1,
    )
    yield call(
        "one good sample of many",
        samples=np.concatenate([rng.uniform(20, 30, size=(59, 2)), [[1.0, 1.02]]]).astype("float32"),
        means=np.array([[1, 1], [-1, -1]], dtype="float32"),
        std=0.2,
    )
    yield call(
        "samples exactly on the circle",
        samples=np.array([[1.5, 0], [0, 1.75], [4, 5.5]], dtype="float32"),
        means=np.array([[0, 0], [4, 4]], dtype="float32"),
        std=0.5,
    )


def _modes_covered(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    modes = mode_coverage(samples, means, std)
    return modes.covered, modes.good


modes_covered = Exercise(points=1, minutes=10, reference=_modes_covered, cases=_modes_covered_cases)


def _count(distance: Tensor, good: Tensor) -> tuple[int, float]:
    nearest = distance.argmin(dim=1)
    return len(set(nearest[good].tolist())), good.float().mean().item()


@modes_covered.mistake(
    "You give each sample to its nearest mode, but never ask whether it is near. A mode is covered by "
    "good samples only."
)
def nearest_is_enough(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance = torch.cdist(samples, means)
    nearest = distance.argmin(dim=1)
    return len(set(nearest.tolist())), (distance.min(dim=1).values <= 3 * std).float().mean().item()


@modes_covered.mistake(
    "You compare the squared distance with three standard deviations. Either take the root or square "
    "both sides."
)
def squared_distance(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance = torch.cdist(samples, means).square()
    return _count(distance, distance.min(dim=1).values <= 3 * std)


@modes_covered.mistake(
    "You compare the squared distance with three times the variance: square the three as well."
)
def three_variances(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance = torch.cdist(samples, means).square()
    return _count(distance, distance.min(dim=1).values <= 3 * std**2)


@modes_covered.mistake(
    "You take the mean of the squares over the coordinates, which makes distances too short. Euclid's "
    "distance is the root of their sum."
)
def root_mean_square(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance = (samples[:, None] - means).square().mean(dim=-1).sqrt()
    return _count(distance, distance.min(dim=1).values <= 3 * std)


@modes_covered.mistake(
    "You measure the distance in the first two coordinates alone. A point may have more: use all of them."
)
def in_the_plane(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    return _modes_covered(samples[:, :2], means[:, :2], std)


@modes_covered.mistake("“At most” includes the limit: a sample whose distance is exactly `3 * std` is good.")
def less_than(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance = torch.cdist(samples, means)
    return _count(distance, distance.min(dim=1).values < 3 * std)


@modes_covered.mistake("You count one mode too many: the mark for bad samples is no mode.")
def mark_counted(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance, nearest = torch.cdist(samples, means).min(dim=1)
    good = distance <= 3 * std
    nearest[~good] = -1
    return len(nearest.unique()), good.float().mean().item()


@modes_covered.mistake(
    "You ask for a tenth of a mode's fair share of the samples, as the chapter's reports do. Here one good "
    "sample is enough."
)
def fair_share(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    modes = mode_coverage(samples, means, std)
    return int((modes.counts >= 0.1 * len(samples) / len(means)).sum()), modes.good


@modes_covered.mistake(
    "You take the largest index for a count. Modes with smaller indices may have got no sample: count the "
    "different ones."
)
def largest_index(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance, nearest = torch.cdist(samples, means).min(dim=1)
    good = distance <= 3 * std
    return (int(nearest[good].max()) + 1 if good.any() else 0), good.float().mean().item()


@modes_covered.mistake(
    "You test each coordinate by itself, so your region is a box. The distance is that of Euclid, and "
    "the region is round."
)
def box(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance = torch.cdist(samples, means)
    own = means[distance.argmin(dim=1)]
    return _count(distance, ((samples - own).abs() <= 3 * std).all(dim=1))


@modes_covered.mistake(
    "A sample that lies within reach of two modes covers both with you. It counts for its nearest one alone: "
    "let every sample choose its mode, not every mode its sample."
)
def counted_twice(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    near = torch.cdist(samples, means) <= 3 * std
    return int(near.any(dim=0).sum()), near.any(dim=1).float().mean().item()


@modes_covered.mistake("Your radius is one standard deviation; three are asked for.")
def radius_of_one(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance = torch.cdist(samples, means)
    return _count(distance, distance.min(dim=1).values <= std)


@modes_covered.mistake("Your radius is 3, in the units of the plane. It should be three times `std`.")
def radius_without_std(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    distance = torch.cdist(samples, means)
    return _count(distance, distance.min(dim=1).values <= 3)


@modes_covered.mistake(
    "The second number should be the share of samples that are good; yours is the share of modes that "
    "are covered."
)
def share_of_modes(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    covered, _ = _modes_covered(samples, means, std)
    return covered, covered / len(means)


@modes_covered.mistake("The second number is a count of good samples; divide by the number of samples.")
def count_of_samples(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    covered, good = _modes_covered(samples, means, std)
    return covered, good * len(samples)


@modes_covered.mistake(
    "You look for the nearest sample of each mode; turn it round: every sample chooses its nearest mode."
)
def wrong_axis(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    near = torch.cdist(samples, means).min(dim=0).values <= 3 * std
    return int(near.sum()), near.float().mean().item()


@modes_covered.mistake(
    "Your first number counts good samples. Several of them may belong to one mode: count the modes that "
    "got any."
)
def samples_for_modes(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    good = torch.cdist(samples, means).min(dim=1).values <= 3 * std
    return int(good.sum()), good.float().mean().item()


@modes_covered.also_right
def in_a_loop(samples: Tensor, means: Tensor, std: float) -> tuple[int, float]:
    hit, good = set(), 0
    for x in samples.tolist():
        distances = [math.dist(x, m) for m in means.tolist()]
        nearest = min(range(len(distances)), key=distances.__getitem__)
        if distances[nearest] <= 3 * std:
            hit.add(nearest)
            good += 1
    return len(hit), good / len(samples)


@modes_covered.also_right
def by_broadcasting(samples: Tensor, means: Tensor, std: float) -> tuple[int, Tensor]:
    squared, nearest = (samples[:, None] - means[None]).square().sum(-1).min(dim=1)
    good = squared <= 9 * std**2
    return nearest[good].unique().numel(), good.double().mean()


# --- A judgement --------------------------------------------------------------------------------------

STEPS = 80


def _run(
    rng: Rng,
    label: str,
    *,
    gap: tuple[float, float],
    gradient: tuple[float, float],
    covered: tuple[float, float],
    turn: float = 0.3,
    scale: float = 1.0,
    spike: float | None = None,
) -> Case:
    """Curves that go from the first to the second number of each pair around the share ``turn`` of the run.

    ``gap`` is the distance of the discriminator's mean probabilities, the gradient's norm moves on a log
    scale, and ``spike`` replaces the last value of ``covered``.
    """
    time = (np.arange(STEPS) + 0.5) / STEPS
    late = 1 / (1 + np.exp(-(time - turn) / 0.03))
    distance = gap[0] + (gap[1] - gap[0]) * late
    wobble = np.minimum(0.02, (1 - distance) / 4) * rng.normal(size=(2, STEPS)).clip(-2, 2)
    exponent = np.log10(gradient[0]) + (np.log10(gradient[1]) - np.log10(gradient[0])) * late
    modes = covered[0] + (covered[1] - covered[0]) * late
    coverage = (np.rint(8 * modes) / 8).clip(0, 1)
    if spike is not None:
        coverage[-1] = spike
    return call(
        label,
        real_probability=(0.5 + distance / 2 + wobble[0]).clip(0, 1).astype("float32"),
        fake_probability=(0.5 - distance / 2 + wobble[1]).clip(0, 1).astype("float32"),
        gradient_norm=(scale * 10 ** (exponent + 0.1 * rng.normal(size=STEPS))).astype("float32"),
        covered=coverage.astype("float32"),
    )


def _lopsided(rng: Rng, label: str, *, real: float, fake: float) -> Case:
    """A healthy run with a small gradient whose mean probabilities end at ``real`` and ``fake``."""
    case = _run(rng, label, gap=(0.3, 0.3), gradient=(1.0, 0.004), covered=(0.1, 1.0))
    for name, start, end in (("real_probability", 0.65, real), ("fake_probability", 0.35, fake)):
        late = 1 / (1 + np.exp(-((np.arange(STEPS) + 0.5) / STEPS - 0.3) / 0.03))
        curve = start + (end - start) * late + 0.005 * rng.normal(size=STEPS)
        case.request["args"][name] = curve.clip(0, 1).astype("float32")
    return case


def _diagnose_run_cases(rng: Rng) -> Iterator[Case]:
    def size() -> float:
        return float(10 ** rng.uniform(-0.3, 0.3))

    def run(label: str, **curves: Any) -> Case:
        return _run(rng, label, **curves)

    label = "a run that has settled, with an odd last measurement"
    yield run(label, gap=(0.5, 0.05), gradient=(size(), 0.003), covered=(0.1, 1.0), spike=0.25)
    label = "a run whose discriminator got far ahead, with gradients on a large scale"
    yield run(label, gap=(0.3, 0.995), gradient=(size(), 1e-4), covered=(0.1, 0.1), scale=300.0)
    label = "a run that covers few modes, but for its last measurement"
    yield run(label, gap=(0.5, 0.02), gradient=(size(), 0.002), covered=(0.1, 0.125), spike=1.0)
    label = "a run that loses its modes late"
    yield run(label, gap=(0.2, 0.3), gradient=(size(), 2.0), covered=(1.0, 0.125), turn=0.6)
    label = "a run that finds its modes late"
    yield run(label, gap=(0.4, 0.1), gradient=(size(), 0.6), covered=(0.2, 1.0), turn=0.6)
    label = "a run with a sure discriminator and a lively gradient, on a small scale"
    yield run(label, gap=(0.3, 0.93), gradient=(size(), 3.0), covered=(0.2, 1.0), scale=1e-4)
    label = "a run with a sure discriminator and a lively gradient, which loses its modes"
    yield run(label, gap=(0.3, 0.93), gradient=(size(), 2.0), covered=(1.0, 0.125), turn=0.5)
    label = "a run that never finds most of the modes"
    yield run(label, gap=(0.4, 0.2), gradient=(size(), 0.9), covered=(0.0, 0.125))
    label = "a run that starved at first and recovered"
    yield run(label, gap=(0.995, 0.1), gradient=(0.001, 0.5), covered=(0.0, 1.0), turn=0.6)
    label = "a run whose discriminator got far ahead, with gradients on a small scale"
    yield run(label, gap=(0.4, 0.998), gradient=(size(), 1e-5), covered=(0.5, 0.0), scale=0.01)
    yield _lopsided(rng, "a run that ends with a discriminator sure of real samples", real=0.98, fake=0.5)
    yield _lopsided(rng, "a run that ends with a discriminator sure of fakes", real=0.5, fake=0.02)
    label = "a run whose discriminator was sure early on and which has settled"
    yield run(label, gap=(0.995, 0.05), gradient=(1.0, 0.003), covered=(0.0, 1.0))
    label = "a run with a sure discriminator and a lively gradient, but for one odd step"
    odd = run(label, gap=(0.3, 0.97), gradient=(1.0, 2.0), covered=(0.2, 1.0))
    odd.request["args"]["gradient_norm"][STEPS // 2] *= 1e-6
    yield odd


def _diagnose_run(
    real_probability: Tensor, fake_probability: Tensor, gradient_norm: Tensor, covered: Tensor
) -> str:
    tail = len(covered) // 5
    gap = (real_probability - fake_probability)[-tail:].mean()
    left = gradient_norm[-tail:].median() / gradient_norm[:tail].median()
    if gap > 0.9 and left < 0.03:
        return "starved"
    return "collapsed" if covered[-tail:].mean() < 0.6 else "healthy"


diagnose_run = Exercise(points=2, minutes=15, reference=_diagnose_run, cases=_diagnose_run_cases)


@diagnose_run.mistake(
    "You judge by the last step alone. A single batch deceives: look at an average over the last part of "
    "the run."
)
def last_step_only(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if real[-1] - fake[-1] > 0.9 and gradient[-1] < 0.03 * gradient[0]:
        return "starved"
    return "collapsed" if covered[-1] < 0.6 else "healthy"


@diagnose_run.mistake(
    "You average over the whole run. What counts is how it ends: a run may recover, and one that began "
    "well may collapse."
)
def whole_run(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if (real - fake).mean() > 0.7 and gradient.mean() < 0.5 * gradient[:16].mean():
        return "starved"
    return "collapsed" if covered.mean() < 0.6 else "healthy"


@diagnose_run.mistake(
    "A sure discriminator is not yet a starved generator: with the non-saturating loss, gradients may be "
    "as large as ever. Look at the gradient as well."
)
def sure_means_starved(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if (real - fake)[-16:].mean() > 0.9:
        return "starved"
    return "collapsed" if covered[-16:].mean() < 0.6 else "healthy"


@diagnose_run.mistake(
    "A small gradient is not yet starvation: it is small also when the game has settled and there is "
    "little left to correct. What does the discriminator say in the two cases?"
)
def small_means_starved(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if gradient[-16:].median() < 0.1 * gradient[:16].median():
        return "starved"
    return "collapsed" if covered[-16:].mean() < 0.6 else "healthy"


@diagnose_run.mistake(
    "You compare the gradient's norm with a fixed number. Its scale depends on the network and on the "
    "learning problem: compare it with what it was at the start of the same run."
)
def absolute_gradient(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if (real - fake)[-16:].mean() > 0.9 and gradient[-16:].median() < 1e-3:
        return "starved"
    return "collapsed" if covered[-16:].mean() < 0.6 else "healthy"


@diagnose_run.mistake(
    "A starved generator covers few modes too, and passes for collapsed with you: look for starvation first."
)
def coverage_alone(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    return "collapsed" if covered[-16:].mean() < 0.6 else "healthy"


@diagnose_run.mistake(
    "You take a discriminator that cannot tell for a sign of health. It judges one point at a time, and "
    "a generator that makes few kinds of good samples may satisfy it: look at the modes."
)
def one_half_means_healthy(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    gap = (real - fake)[-16:].mean()
    if gap > 0.9 and gradient[-16:].median() < 0.03 * gradient[:16].median():
        return "starved"
    return "healthy" if gap < 0.5 or covered[-16:].mean() > 0.6 else "collapsed"


@diagnose_run.mistake(
    "You ask whether the modes were ever covered. Training can lose what it had: look at the end of the run."
)
def ever_covered(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if (real - fake)[-16:].mean() > 0.9 and gradient[-16:].median() < 0.03 * gradient[:16].median():
        return "starved"
    return "collapsed" if covered.max() < 0.6 else "healthy"


@diagnose_run.mistake(
    "You ask about real samples alone. A discriminator may be sure of these and in two minds about the "
    "generated ones, which are what the generator learns from."
)
def real_alone(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if real[-16:].mean() > 0.9 and gradient[-16:].median() < 0.1 * gradient[:16].median():
        return "starved"
    return "collapsed" if covered[-16:].mean() < 0.6 else "healthy"


@diagnose_run.mistake(
    "You ask about generated samples alone. A discriminator that calls everything a fake is sure of these, "
    "too: it tells the two kinds apart only if it knows the real ones."
)
def fake_alone(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if fake[-16:].mean() < 0.1 and gradient[-16:].median() < 0.1 * gradient[:16].median():
        return "starved"
    return "collapsed" if covered[-16:].mean() < 0.6 else "healthy"


@diagnose_run.mistake(
    "You ask whether the discriminator was ever sure. That may have passed: look at the end of the run."
)
def ever_sure(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if (real > 0.9).any() and (fake < 0.1).any() and gradient[-16:].median() < 0.1 * gradient[:16].median():
        return "starved"
    return "collapsed" if covered[-16:].mean() < 0.6 else "healthy"


@diagnose_run.mistake(
    "You take the smallest gradient of the run. A single step may have none by chance: look at an average "
    "over the end of the run."
)
def smallest_gradient(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    if (real - fake)[-16:].mean() > 0.9 and gradient.min() < 0.03 * gradient[:16].median():
        return "starved"
    return "collapsed" if covered[-16:].mean() < 0.6 else "healthy"


@diagnose_run.mistake(
    "You never answer “collapsed”: a living gradient says that the generator moves, not that it covers "
    "the data."
)
def never_collapsed(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    gap = (real - fake)[-16:].mean()
    starved = gap > 0.9 and gradient[-16:].median() < 0.03 * gradient[:16].median()
    return "starved" if starved else "healthy"


@diagnose_run.also_right
def last_quarter(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    n = len(real) // 4
    sure = real[-n:].mean().item() > 0.85 and fake[-n:].mean().item() < 0.15
    dead = gradient[-n:].mean() < gradient[:n].max() / 100
    if sure and dead:
        return "starved"
    return "healthy" if covered[-n:].median() >= 0.75 else "collapsed"


@diagnose_run.also_right
def last_ten(real: Tensor, fake: Tensor, gradient: Tensor, covered: Tensor) -> str:
    gap = sum((r - f) for r, f in zip(real.tolist()[-10:], fake.tolist()[-10:], strict=True)) / 10
    if gap > 0.6 and sum(gradient.tolist()[-10:]) < 0.01 * sum(gradient.tolist()[:10]):
        return "starved"
    if sorted(covered.tolist()[-10:])[5] < 0.5:
        return "collapsed"
    return "healthy"
