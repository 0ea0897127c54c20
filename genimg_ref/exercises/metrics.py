"""The exercises of the chapter metrics, in the order of the text."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genimg_ref.exercises.engine import Case, Exercise, call
from genimg_ref.metrics import fid, kid
from genimg_ref.metrics.statistics import Moments

Rng = np.random.Generator


# --- inception_score ----------------------------------------------------------------------------------


def _log_probabilities(rng: Rng, count: int, classes: int, sharpness: float) -> np.ndarray:
    """Logits like a classifier's: one class stands out, by about ``sharpness``."""
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), rng.integers(classes, size=count)] += sharpness
    return (logits + rng.normal(scale=3, size=(count, 1))).astype("float32")


def _inception_score_cases(rng: Rng) -> Iterator[Case]:
    yield call("ordinary logits of nine images and four classes", logits=_log_probabilities(rng, 9, 4, 3.0))
    yield call("as many images as classes", logits=_log_probabilities(rng, 5, 5, 4.0))
    logits = _log_probabilities(rng, 7, 5, 2.0)
    logits[rng.random(logits.shape) < 0.3] = -np.inf
    logits[:, 0], logits[:, 1] = rng.normal(size=7), -np.inf
    yield call("logits of minus infinity, and a class that no image has", logits=logits)
    logits = _log_probabilities(rng, 8, 4, 2.0)
    logits[np.arange(8), rng.permutation(8) % 4] = -np.inf
    yield call("a logit of minus infinity in each image", logits=logits)
    sure = np.full((8, 3), -1000.0, dtype="float32")
    sure[np.arange(8), rng.permutation(8) % 3] = 1000.0
    yield call("a classifier that is beyond doubt", logits=sure)
    flat = np.repeat(rng.normal(size=(1, 6)), 5, axis=0).astype("float32")
    yield call("the same logits for all images", logits=flat)
    one = _log_probabilities(rng, 6, 4, 1.0)
    one[:, 2] += 60
    yield call("images that are all of one class", logits=one)


def _score(
    logits: Tensor,
    *,
    twice: bool = False,
    naive: bool = False,
    all_entries: bool = False,
) -> float:
    """The right score, with the three faults of the stub to be switched on."""
    p = F.softmax(F.softmax(logits, dim=1), dim=1) if twice else F.softmax(logits, dim=1)
    marginal = p.mean(dim=0, keepdim=True)
    terms = p * (p / marginal).log() if naive else torch.xlogy(p, p) - torch.xlogy(p, marginal)
    return (terms.mean() if all_entries else terms.sum(dim=1).mean()).exp().item()


def _inception_score(logits: Tensor) -> float:
    return _score(logits.double())


inception_score = Exercise(points=2, minutes=15, reference=_inception_score, cases=_inception_score_cases)


@inception_score.mistake(
    "The softmax is still taken twice, which makes the probabilities nearly even, and hides the NaN that a "
    "probability of zero would give; and the mean still runs over images and classes alike."
)
def as_it_stood(logits: Tensor) -> float:
    return _score(logits, twice=True, naive=True, all_entries=True)


@inception_score.mistake(
    "Your probabilities have been through a softmax twice. The second one takes numbers between 0 and 1"
    " for logits and flattens them: no class can get more than e times the share of another."
)
def softmax_twice(logits: Tensor) -> float:
    return _score(logits, twice=True)


@inception_score.mistake(
    "Right wherever every class has some probability. Where one is exactly zero, `0 * log 0` is NaN in "
    "the computer, and one NaN spoils the mean. Such a term counts as zero."
)
def nan_at_zero(logits: Tensor) -> float:
    return _score(logits, naive=True)


@inception_score.mistake(
    "Right wherever each class occurs in some image. The share of one that never occurs is 0, and 0 / 0 is "
    "NaN, as is 0 times the logarithm of 0; `xlogy` keeps a NaN that it is given. Take the logarithms "
    "apart: `xlogy(p, p) - xlogy(p, marginal)`."
)
def ratio_first(logits: Tensor) -> float:
    p = F.softmax(logits, dim=1)
    return torch.xlogy(p, p / p.mean(dim=0)).sum(dim=1).mean().exp().item()


@inception_score.mistake(
    "`F.kl_div` averages over images and classes unless it is told otherwise, and for a class that no image "
    "has it multiplies 0 by the logarithm of 0. Sum over the classes, and let `xlogy` see to the zeros."
)
def divergence_of_torch(logits: Tensor) -> float:
    p = F.softmax(logits, dim=1)
    return (torch.xlogy(p, p) - p * p.mean(dim=0).log()).mean().exp().item()


@inception_score.mistake(
    "Two faults are left: a probability of zero gives NaN, and the mean runs over all entries. The "
    "divergence is a sum over the classes; the mean is over images alone."
)
def nan_and_all_entries(logits: Tensor) -> float:
    return _score(logits, naive=True, all_entries=True)


@inception_score.mistake(
    "You average over images and classes. The divergence of one image is a sum over the classes; only "
    "the images are averaged."
)
def mean_over_all_entries(logits: Tensor) -> float:
    return _score(logits, all_entries=True)


@inception_score.mistake(
    "You add the terms of all images. The score takes the mean over images: twice as many of the same "
    "should not change it."
)
def sum_over_images(logits: Tensor) -> float:
    return math.exp(min(len(logits) * math.log(_inception_score(logits)), 700))


@inception_score.mistake(
    "The last step goes the wrong way: of the mean divergence you take the logarithm. The score undoes "
    "a logarithm, so that it counts things."
)
def logarithm_at_the_end(logits: Tensor) -> float:
    p = F.softmax(logits.double(), dim=1)
    return (torch.xlogy(p, p) - torch.xlogy(p, p.mean(dim=0))).sum(dim=1).mean().clamp(min=0).log().item()


@inception_score.mistake("That is the mean divergence itself. The score is its exponential.")
def without_exponential(logits: Tensor) -> float:
    return math.log(_inception_score(logits))


@inception_score.mistake(
    "You take the exponential of each image's divergence and average after that. The mean comes first, "
    "then one exponential."
)
def exponential_before_mean(logits: Tensor) -> float:
    p = F.softmax(logits.double(), dim=1)
    terms = torch.xlogy(p, p) - torch.xlogy(p, p.mean(dim=0))
    return terms.sum(dim=1).exp().mean().item()


@inception_score.mistake(
    "The two distributions of the divergence are exchanged. Each image's `p(y|x)` is the one over which"
    " the expectation is taken; the mean `p(y)` stands below the line."
)
def divergence_turned_round(logits: Tensor) -> float:
    p = F.softmax(logits.double(), dim=1)
    marginal = p.mean(dim=0)
    terms = torch.xlogy(marginal, marginal) - torch.xlogy(marginal, p)
    return terms.sum(dim=1).mean().exp().item()


@inception_score.mistake(
    "Your marginal is a mean of logarithms, or of logits. `p(y)` is the mean of the probabilities "
    "themselves: add first, take the logarithm after that."
)
def geometric_marginal(logits: Tensor) -> float:
    logp = F.log_softmax(logits.double(), dim=1)
    p, marginal = logp.exp(), F.softmax(logits.double().mean(dim=0), dim=0)
    return (torch.xlogy(p, p) - torch.xlogy(p, marginal)).sum(dim=1).mean().exp().item()


@inception_score.mistake(
    "The marginal is taken over the classes of each image, so every image is compared with itself. It "
    "is the mean over the images, one number a class."
)
def marginal_over_classes(logits: Tensor) -> float:
    p = F.softmax(logits.double(), dim=1)
    marginal = p.mean(dim=1, keepdim=True)
    return (torch.xlogy(p, p) - torch.xlogy(p, marginal)).sum(dim=1).mean().exp().item()


@inception_score.mistake(
    "The softmax runs over the images. Each row is one image, and its probabilities over the classes "
    "must sum to 1."
)
def softmax_over_images(logits: Tensor) -> float:
    p = F.softmax(logits.double(), dim=0)
    return (torch.xlogy(p, p) - torch.xlogy(p, p.mean(dim=0))).sum(dim=1).mean().exp().item()


@inception_score.mistake(
    "The logits are used as they are, as if they were probabilities. They may be negative and sum to "
    "anything: what turns a row of them into probabilities?"
)
def logits_for_probabilities(logits: Tensor) -> float:
    marginal = logits.mean(dim=0)
    return (torch.xlogy(logits, logits) - torch.xlogy(logits, marginal)).sum(dim=1).mean().exp().item()


@inception_score.mistake(
    "That is the exponential of the marginal's entropy: it says how many things there are, and not how "
    "clearly each image is one of them. The mean entropy of the images is to be taken off."
)
def marginal_entropy_alone(logits: Tensor) -> float:
    marginal = F.softmax(logits.double(), dim=1).mean(dim=0)
    return (-torch.xlogy(marginal, marginal).sum()).exp().item()


@inception_score.mistake(
    "You work in bits and raise e to the power of them. Take natural logarithms, or 2 to that power."
)
def bits_and_e(logits: Tensor) -> float:
    return math.exp(math.log(_inception_score(logits)) / math.log(2))


@inception_score.mistake(
    "A constant inside the logarithm avoids the NaN and changes the answer: it decides where "
    "probabilities are small. Leave the terms with probability zero out instead."
)
def large_epsilon(logits: Tensor) -> float:
    p = F.softmax(logits.double(), dim=1)
    terms = p * ((p + 1e-3) / (p.mean(dim=0) + 1e-3)).log()
    return terms.sum(dim=1).mean().exp().item()


@inception_score.also_right
def by_entropies(logits: Tensor) -> Tensor:
    p = F.softmax(logits, dim=1)
    own = torch.special.entr(p).sum(dim=1).mean()
    return (torch.special.entr(p.mean(dim=0)).sum() - own).exp()


@inception_score.also_right
def in_log_space(logits: Tensor) -> float:
    logp = F.log_softmax(logits, dim=1)
    marginal = logp.logsumexp(dim=0) - math.log(len(logp))
    ratio = torch.where(logp == -torch.inf, 0.0, logp - marginal)
    return (logp.exp() * ratio).sum(dim=1).mean().exp().item()


@inception_score.also_right
def image_by_image(logits: Tensor) -> float:
    rows = [[math.exp(x) for x in row] for row in F.log_softmax(logits.double(), dim=1).tolist()]
    marginal = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    total = 0.0
    for row in rows:
        total += sum(p * math.log(p / m) for p, m in zip(row, marginal, strict=True) if p > 0)
    return math.exp(total / len(rows))


@inception_score.also_right
def tiny_epsilon(logits: Tensor) -> float:
    p = F.softmax(logits.double(), dim=1)
    terms = p * ((p + 1e-16).log() - (p.mean(dim=0) + 1e-16).log())
    return terms.sum(dim=1).mean().exp().item()


# --- frechet_distance ---------------------------------------------------------------------------------


def _covariance(rng: Rng, dim: int, rank: int | None = None, size: float = 1.0) -> np.ndarray:
    """A covariance of the given rank, whose axes lie anyhow and differ in length."""
    rank = dim if rank is None else rank
    factor = rng.normal(size=(rank, dim)) * np.linspace(0.5, 2, rank)[:, None] * math.sqrt(size)
    return factor.T @ factor


def _frechet_distance_cases(rng: Rng) -> Iterator[Case]:
    def gaussians(label: str, a: np.ndarray, b: np.ndarray, shift: float = 1.0) -> Case:
        means = rng.normal(size=(2, len(a))) * shift + 0.5
        return call(label, mean_a=means[0], covariance_a=a, mean_b=means[1], covariance_b=b)

    yield gaussians("covariances that do not commute", _covariance(rng, 4), _covariance(rng, 4))
    yield gaussians("two singular covariances", _covariance(rng, 20, 3), _covariance(rng, 20, 5))
    yield gaussians("a covariance of zero", np.zeros((3, 3)), _covariance(rng, 3))
    yield gaussians("small covariances", _covariance(rng, 3, 3, 1e-4), _covariance(rng, 3, 3, 1e-4), 0.01)
    yield gaussians(
        "covariances of very different size", _covariance(rng, 3), _covariance(rng, 3, size=900.0)
    )
    yield gaussians("one dimension", _covariance(rng, 1) + 0.2, _covariance(rng, 1) + 4.0)
    yield gaussians("far apart", _covariance(rng, 6), _covariance(rng, 6), 30.0)
    mean, covariance = rng.normal(size=4), _covariance(rng, 4) + 0.2 * np.eye(4)
    shifted = mean + np.array([0.0, 0.01, 0.0, 0.0])
    label = "equal covariances, and means that hardly differ"
    yield call(label, mean_a=mean, covariance_a=covariance, mean_b=shifted, covariance_b=covariance)


def _parts(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Square distance of the means, traces, trace of the root."""
    root = torch.linalg.svdvals(_root(covariance_a) @ _root(covariance_b)).sum()
    return (mean_a - mean_b).square().sum(), torch.trace(covariance_a + covariance_b), root


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


frechet_distance = Exercise(
    points=3,
    minutes=25,
    reference=fid.frechet_gaussians,
    cases=_frechet_distance_cases,
    rtol=1e-5,
    atol=2e-7,  # the root of an eigenvalue that is zero up to rounding
)


@frechet_distance.mistake(
    "The means are left out. Two heaps of the same shape at different places are not the same distribution."
)
def without_means(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    _, traces, root = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (traces - 2 * root).item()


@frechet_distance.mistake(
    "The distance of the means is not squared. All other terms are squares, so check the units."
)
def unsquared_means(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, root = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means.sqrt() + traces - 2 * root).item()


@frechet_distance.mistake(
    "You average the squared differences of the means over the dimensions. The squared norm is their sum."
)
def averaged_means(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, root = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means / len(mean_a) + traces - 2 * root).item()


@frechet_distance.mistake(
    "The difference of the means is summed before it is squared, so shifts in opposite directions cancel."
)
def summed_before_squared(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> float:
    _, traces, root = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return ((mean_a - mean_b).sum().square() + traces - 2 * root).item()


@frechet_distance.mistake(
    "You multiply the two roots. The trace of that product is the right one only where the covariances "
    "commute, as diagonal ones do. Root and product have to be taken in the order of the formula."
)
def product_of_roots(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means + traces - 2 * torch.trace(_root(covariance_a) @ _root(covariance_b))).item()


@frechet_distance.mistake(
    "You take the root of each entry of the matrix. The root of a matrix is the matrix whose product "
    "with itself it is; its eigenvalues are the roots."
)
def root_of_entries(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    product = covariance_a @ covariance_b
    return (means + traces - 2 * torch.trace(product.sqrt())).item()


@frechet_distance.mistake(
    "Only variances are compared: what the features have in common, off the diagonal, has no say."
)
def diagonals_only(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    spread_a, spread_b = covariance_a.diagonal().sqrt(), covariance_b.diagonal().sqrt()
    return ((mean_a - mean_b).square() + (spread_a - spread_b).square()).sum().item()


@frechet_distance.mistake(
    "The factor 2 in front of the root is missing: equal Gaussians must have distance 0."
)
def one_root(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, root = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means + traces - root).item()


@frechet_distance.mistake(
    "The two traces are missing. Without them equal Gaussians would have a distance far below zero."
)
def without_traces(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, _, root = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means - 2 * root).item()


@frechet_distance.mistake("The root is added. It is what both heaps share, and it lessens the distance.")
def root_added(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, root = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means + traces + 2 * root).item()


@frechet_distance.mistake(
    "The product itself stands under the trace, without a root. Its units are those of a fourth power."
)
def no_root(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means + traces - 2 * torch.trace(covariance_a @ covariance_b)).item()


@frechet_distance.mistake(
    "You take the root of the trace. It is the trace of the root: the sum of the roots of the eigenvalues."
)
def root_of_trace(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means + traces - 2 * torch.trace(covariance_a @ covariance_b).clamp(min=0).sqrt()).item()


@frechet_distance.mistake(
    "You return the root of the whole. Published distances, and this exercise, are its square."
)
def root_of_all(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, root = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means + traces - 2 * root).clamp(min=0).sqrt().item()


@frechet_distance.mistake(
    "`eigh` and `eigvalsh` read one triangle of the matrix and take it for symmetric. The product of "
    "two symmetric matrices is not symmetric in general."
)
def eigvalsh_of_product(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    values = torch.linalg.eigvalsh(covariance_a @ covariance_b)
    return (means + traces - 2 * values.clamp(min=0).sqrt().sum()).item()


@frechet_distance.mistake(
    "You made the product symmetric by averaging it with its transpose. That changes its eigenvalues; "
    "the product of root, matrix and root has the right ones and is symmetric by itself."
)
def symmetrised(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    product = covariance_a @ covariance_b
    values = torch.linalg.eigvalsh((product + product.T) / 2)
    return (means + traces - 2 * values.clamp(min=0).sqrt().sum()).item()


@frechet_distance.mistake(
    "You used singular values of the product of the covariances. They are its eigenvalues only if it is"
    " symmetric: the singular values that count are those of the product of the two roots."
)
def singular_values_of_product(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    return (means + traces - 2 * torch.linalg.svdvals(covariance_a @ covariance_b).sqrt().sum()).item()


@frechet_distance.mistake(
    "A multiple of the identity is added under the root. That makes every matrix invertible and the answer"
    " wrong; nothing here needs an inverse."
)
def with_epsilon(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    shift = 1e-6 * torch.eye(len(mean_a), dtype=mean_a.dtype)
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    _, _, root = _parts(mean_a, covariance_a + shift, mean_b, covariance_b + shift)
    return (means + traces - 2 * root).item()


@frechet_distance.mistake(
    "Both covariances are widened by a multiple of the identity before anything else is computed, so every "
    "feature gets variance that it does not have. Singular matrices need no help here."
)
def widened(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    shift = 1e-3 * torch.eye(len(mean_a), dtype=mean_a.dtype)
    means, traces, root = _parts(mean_a, covariance_a + shift, mean_b, covariance_b + shift)
    return (means + traces - 2 * root).item()


@frechet_distance.mistake(
    "Cholesky's factor exists only for matrices that are not singular. These may be: eigenvalues do not mind."
)
def by_cholesky(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    root = torch.linalg.svdvals(torch.linalg.cholesky(covariance_a).T @ torch.linalg.cholesky(covariance_b))
    return (means + traces - 2 * root.sum()).item()


@frechet_distance.mistake(
    "Rounding leaves some eigenvalues that should be zero slightly below it, and the root of such a number "
    "is NaN. Put `clamp(min=0)` before the root."
)
def unclamped(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    values = torch.linalg.eigvals(covariance_a @ covariance_b).real
    return (means + traces - 2 * values.sqrt().sum()).item()


@frechet_distance.mistake(
    "The root of a singular covariance holds NaN: rounding leaves some of its eigenvalues slightly below "
    "zero. Put `clamp(min=0)` before the root of the eigenvalues."
)
def unclamped_matrix_root(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> float:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    values, vectors = torch.linalg.eigh(covariance_a)
    root = (vectors * values.sqrt()) @ vectors.T
    values = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp(min=0)
    return (means + traces - 2 * values.sqrt().sum()).item()


@frechet_distance.mistake(
    "`eigvals` answers with complex numbers, and rounding leaves some eigenvalues slightly negative, so"
    " their roots are complex. Take the real part, and nothing below zero, before the root."
)
def complex_root(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> complex:
    means, traces, _ = _parts(mean_a, covariance_a, mean_b, covariance_b)
    values = torch.linalg.eigvals(covariance_a @ covariance_b)
    return complex((means + traces - 2 * values.sqrt().sum()).item())


@frechet_distance.also_right
def by_eigenvalues(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    values = torch.linalg.eigvals(covariance_a @ covariance_b).real.clamp(min=0)
    step = mean_a - mean_b
    return (step @ step + torch.trace(covariance_a + covariance_b) - 2 * values.sqrt().sum()).item()


@frechet_distance.also_right
def by_real_part_of_roots(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> float:
    root = torch.linalg.eigvals(covariance_a @ covariance_b).sqrt().real.sum()
    traces = covariance_a.diagonal().sum() + covariance_b.diagonal().sum()
    return float((mean_a - mean_b).norm() ** 2 + traces - 2 * root)


@frechet_distance.also_right
def by_symmetric_product(
    mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor
) -> Tensor:
    root = _root(covariance_a)
    values = torch.linalg.eigvalsh(root @ covariance_b @ root).clamp(min=0)
    return (
        (mean_a - mean_b).square().sum() + torch.trace(covariance_a + covariance_b) - 2 * values.sqrt().sum()
    )


@frechet_distance.also_right
def by_nuclear_norm(mean_a: Tensor, covariance_a: Tensor, mean_b: Tensor, covariance_b: Tensor) -> float:
    shared = torch.linalg.matrix_norm(_root(covariance_a) @ _root(covariance_b), ord="nuc")
    return (
        F.mse_loss(mean_a, mean_b, reduction="sum") + torch.trace(covariance_a + covariance_b) - 2 * shared
    ).item()


# --- merge_moments ------------------------------------------------------------------------------------


def _batch(rng: Rng, count: int, dim: int, mean: float = 0.0) -> Moments:
    rows = torch.from_numpy(rng.normal(size=(count, dim)) * rng.uniform(0.5, 2, size=dim) + mean)
    centre = rows.mean(dim=0)
    centred = rows - centre
    return Moments(count, centre, centred.T @ centred)


def _merge_moments_cases(rng: Rng) -> Iterator[Case]:
    def pair(label: str, a: Moments, b: Moments) -> Case:
        return call(
            label,
            count_a=a.count,
            mean_a=a.mean.numpy(),
            scatter_a=a.scatter.numpy(),
            count_b=b.count,
            mean_b=b.mean.numpy(),
            scatter_b=b.scatter.numpy(),
        )

    yield pair("unequal batches", _batch(rng, 5, 3), _batch(rng, 12, 3, mean=2.0))
    yield pair("a single image beside a batch", _batch(rng, 1, 4, mean=-1.0), _batch(rng, 6, 4))
    yield pair("a batch beside a single image", _batch(rng, 9, 2), _batch(rng, 1, 2, mean=3.0))
    yield pair("two single images", _batch(rng, 1, 3), _batch(rng, 1, 3, mean=1.0))
    yield pair("means of a hundred million", _batch(rng, 7, 3, mean=1e8), _batch(rng, 4, 3, mean=1e8 + 3))
    yield pair("one feature", _batch(rng, 8, 1, mean=5.0), _batch(rng, 3, 1))


Merged = tuple[int, Tensor, Tensor]


def _merge_moments(
    count_a: int, mean_a: Tensor, scatter_a: Tensor, count_b: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    both = Moments(count_a, mean_a, scatter_a).merge(Moments(count_b, mean_b, scatter_b))
    return both.count, both.mean, both.scatter


merge_moments = Exercise(
    points=2, minutes=15, reference=_merge_moments, cases=_merge_moments_cases, rtol=1e-12, atol=1e-5
)


def _merged(
    a: tuple[int, Tensor, Tensor],
    b: tuple[int, Tensor, Tensor],
    weight: Callable[[int, int], float] = lambda m, n: m * n / (m + n),
    mean: Callable[[int, int], float] = lambda m, n: n / (m + n),
) -> Merged:
    """The right answer, with another weight of the step between the means or share of the second mean."""
    (m, mean_a, scatter_a), (n, mean_b, scatter_b) = a, b
    step = mean_b - mean_a
    scatter = scatter_a + scatter_b + weight(m, n) * torch.outer(step, step)
    return m + n, mean_a + mean(m, n) * step, scatter


@merge_moments.mistake(
    "The two means are averaged as if both batches were equally large. A batch counts as often as it "
    "has images."
)
def plain_average(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    return _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b), mean=lambda m, n: 0.5)


@merge_moments.mistake("The weights of the two means are exchanged: the larger batch should pull harder.")
def weights_exchanged(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    return _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b), mean=lambda m, n: m / (m + n))


@merge_moments.mistake(
    "The scatters are only added. Each is taken about its own mean; what lies between the two means is "
    "missing."
)
def between_forgotten(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    return _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b), weight=lambda m, n: 0.0)


@merge_moments.mistake(
    "The step between the means has weight 1, whatever the counts. Try two batches of a single image each."
)
def weight_one(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    return _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b), weight=lambda m, n: 1.0)


@merge_moments.mistake(
    "The step between the means is weighted with the product of the counts. It still has to be divided "
    "by their sum."
)
def weight_product(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    return _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b), weight=lambda m, n: m * n)


@merge_moments.mistake(
    "The step between the means is weighted with the total count. That is n_a n_b / n only by accident:"
    " try a single image beside many."
)
def weight_total(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    return _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b), weight=lambda m, n: m + n)


@merge_moments.mistake(
    "The weight of the step between the means is a share, such as n_a n_b / n². That is right for "
    "covariances divided by n; a scatter is not divided."
)
def weight_share(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    return _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b), weight=lambda m, n: m * n / (m + n) ** 2)


@merge_moments.mistake(
    "The step between the means is weighted with the share of the second batch. That is how the mean moves; "
    "the scatter must not depend on which batch comes first."
)
def weight_of_the_mean(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    return _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b), weight=lambda m, n: n / (m + n))


@merge_moments.mistake(
    "You return a covariance, divided by the count less one. A scatter stays undivided until the very "
    "end, so that it can be merged again."
)
def divided_less_one(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    count, mean, scatter = _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b))
    return count, mean, scatter / (count - 1)


@merge_moments.mistake(
    "You return the scatter divided by the count. It stays undivided until the very end, so that it can"
    " be merged again."
)
def divided(m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor) -> Merged:
    count, mean, scatter = _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b))
    return count, mean, scatter / count


@merge_moments.mistake(
    "You add squares of the single differences where the outer product belongs: row i, column j gets the "
    "difference i times the difference j."
)
def squares_on_rows(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    step = mean_b - mean_a
    count, mean, _ = _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b))
    return count, mean, scatter_a + scatter_b + m * n / count * step.square()


@merge_moments.mistake(
    "You add squares of the single differences on the diagonal alone. Features vary together as well: "
    "an outer product fills the whole matrix."
)
def squares_on_diagonal(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    step = mean_b - mean_a
    count, mean, _ = _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b))
    return count, mean, scatter_a + scatter_b + m * n / count * torch.diag(step.square())


@merge_moments.mistake(
    "`step @ step` is a single number, the sum of the squared differences, and it lands in every entry. An "
    "outer product has an entry for each pair of features: `torch.outer(step, step)`."
)
def inner_product(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    step = mean_b - mean_a
    count, mean, _ = _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b))
    return count, mean, scatter_a + scatter_b + m * n / count * (step @ step)


@merge_moments.mistake(
    "Exact on paper. You go back to sums of squares, whose difference loses all digits when the means "
    "are large beside the spread. Work with the difference of the two means."
)
def by_sums_of_squares(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    count = m + n
    mean = (m * mean_a + n * mean_b) / count
    squares = scatter_a + m * torch.outer(mean_a, mean_a) + scatter_b + n * torch.outer(mean_b, mean_b)
    return count, mean, squares - count * torch.outer(mean, mean)


@merge_moments.mistake(
    "The answer is right, but what you were handed has changed: `+=` and methods that end in an "
    "underscore write into their tensor."
)
def in_place(m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor) -> Merged:
    step = mean_b - mean_a
    scatter_a += scatter_b + m * n / (m + n) * torch.outer(step, step)
    mean_a += n / (m + n) * step
    return m + n, mean_a, scatter_a


@merge_moments.mistake("Mean and scatter come back in the wrong order: count, mean, scatter.")
def another_order(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    count, mean, scatter = _merged((m, mean_a, scatter_a), (n, mean_b, scatter_b))
    return count, scatter, mean


@merge_moments.also_right
def about_the_new_mean(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    mean = (m * mean_a + n * mean_b) / (m + n)
    scatter = scatter_a + scatter_b
    for count, own in ((m, mean_a), (n, mean_b)):
        scatter = scatter + count * torch.outer(own - mean, own - mean)
    return m + n, mean, scatter


@merge_moments.also_right
def by_matrix_products(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    step = (mean_b - mean_a)[:, None]
    mean = mean_b + m / (m + n) * (mean_a - mean_b)
    return m + n, mean, scatter_b + scatter_a + step @ step.T / (1 / m + 1 / n)


@merge_moments.also_right
def image_by_image_of_two(
    m: int, mean_a: Tensor, scatter_a: Tensor, n: int, mean_b: Tensor, scatter_b: Tensor
) -> Merged:
    """Welford's update, as if the second batch were ``n`` copies of its mean."""
    count, mean, scatter = m, mean_a.clone(), scatter_a + scatter_b
    for _ in range(n):
        count += 1
        step = mean_b - mean
        mean = mean + step / count
        scatter = scatter + torch.outer(step, mean_b - mean)
    return count, mean, scatter


# --- fid_infinity -------------------------------------------------------------------------------------


def _fid_infinity_cases(rng: Rng) -> Iterator[Case]:
    def points(label: str, number: int, end: float, slope: float, noise: float, luck: float = 0.0) -> Case:
        """Points around a line, in any order, one of middle size last. With ``luck`` the second largest size
        comes off better than the largest by this much."""
        sizes = np.sort(rng.choice(np.arange(200, 6000, 50), size=number, replace=False)).astype("float64")
        distances = end + slope / sizes + noise * rng.normal(size=number)
        if luck:
            distances[-2] = distances[-1] - luck
        others = np.delete(np.arange(number), number // 2)
        order = np.append(rng.permutation(others), number // 2)
        return call(label, sizes=sizes[order], distances=distances[order])

    yield points("eight noisy points", 8, rng.uniform(2, 6), 900.0, 0.15, luck=0.2)
    label = "a line that ends below zero"
    yield points(label, 7, rng.uniform(-0.4, -0.2), 3000.0, 0.02)  # no distance is negative
    yield points("three points", 3, rng.uniform(0.5, 1), 2000.0, 0.1)
    yield points("points exactly on a line", 5, rng.uniform(1, 3), 1500.0, 0.0)


def _fid_infinity(sizes: Tensor, distances: Tensor) -> float:
    return float(np.polyfit(1 / sizes.numpy(), distances.numpy(), 1)[1])


fid_infinity = Exercise(points=1, minutes=10, reference=_fid_infinity, cases=_fid_infinity_cases)


def _fit(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Intercept and slope."""
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return y.mean() - slope * x.mean(), slope


@fid_infinity.mistake(
    "You fit against the number of images itself. The distance is a straight line in one divided by it."
)
def against_size(sizes: Tensor, distances: Tensor) -> float:
    return _fit(sizes, distances)[0].item()


@fid_infinity.mistake("That is the slope of the line. The answer is where it ends, at 1/n = 0.")
def the_slope(sizes: Tensor, distances: Tensor) -> float:
    return _fit(1 / sizes, distances)[1].item()


@fid_infinity.mistake("That is the mean of the distances, which is no limit of anything.")
def the_mean(sizes: Tensor, distances: Tensor) -> float:
    return distances.mean().item()


@fid_infinity.mistake(
    "That is the distance with the most images. Its bias is the smallest of all, and still there: "
    "follow the line."
)
def the_largest(sizes: Tensor, distances: Tensor) -> float:
    return distances[sizes.argmax()].item()


@fid_infinity.mistake(
    "The line goes through two of the points only, those with the fewest and the most images. All of "
    "them count: least squares."
)
def through_two_points(sizes: Tensor, distances: Tensor) -> float:
    ends = torch.stack([sizes.argmin(), sizes.argmax()])
    return _fit(1 / sizes[ends], distances[ends])[0].item()


@fid_infinity.mistake(
    "The line goes through the first and the last point of the list only, which need not even be in order. "
    "All points count: least squares."
)
def through_first_and_last(sizes: Tensor, distances: Tensor) -> float:
    ends = torch.tensor([0, -1])
    return _fit(1 / sizes[ends], distances[ends])[0].item()


@fid_infinity.mistake(
    "Your line is forced through the point with the most images. That one is measured with an error too: let "
    "the line find its own height."
)
def through_the_largest(sizes: Tensor, distances: Tensor) -> float:
    most = sizes.argmax()
    x, y = 1 / sizes - 1 / sizes[most], distances - distances[most]
    return (distances[most] - (x * y).sum() / x.square().sum() / sizes[most]).item()


@fid_infinity.mistake(
    "That is the distance which stands last. Its bias is still there, and it need not even be the one with "
    "the most images."
)
def the_last(sizes: Tensor, distances: Tensor) -> float:
    return distances[-1].item()


@fid_infinity.mistake(
    "That is the smallest of the distances. It was measured with finitely many images, as all of them were."
)
def the_smallest(sizes: Tensor, distances: Tensor) -> float:
    return distances.min().item()


@fid_infinity.mistake(
    "You fit against the logarithm of the number of images. The bias is proportional to one divided by that "
    "number, so that is where the points lie on a straight line."
)
def against_logarithm(sizes: Tensor, distances: Tensor) -> float:
    return _fit(sizes.log(), distances)[0].item()


@fid_infinity.mistake(
    "The line is held above zero. The end of a line through noisy points may lie a little below, and to"
    " cut it off would make the average too large."
)
def clamped(sizes: Tensor, distances: Tensor) -> float:
    return _fit(1 / sizes, distances)[0].clamp(min=0).item()


@fid_infinity.mistake("You return the size of the number without its sign. A line may end below zero.")
def absolute_end(sizes: Tensor, distances: Tensor) -> float:
    return _fit(1 / sizes, distances)[0].abs().item()


@fid_infinity.mistake(
    "The fit is against one over the root of the number. Errors of a mean fall like that; this bias "
    "comes from variances, which fall like 1/n."
)
def against_root(sizes: Tensor, distances: Tensor) -> float:
    return _fit(sizes.rsqrt(), distances)[0].item()


@fid_infinity.mistake(
    "Each point is weighted with its number of images. That may be sensible, but it is another fit: the"
    " task asks for plain least squares in 1/n."
)
def weighted(sizes: Tensor, distances: Tensor) -> float:
    x, w = 1 / sizes, sizes / sizes.sum()
    centre, middle = (w * x).sum(), (w * distances).sum()
    slope = (w * (x - centre) * (distances - middle)).sum() / (w * (x - centre).square()).sum()
    return (middle - slope * centre).item()


@fid_infinity.mistake(
    "You solve n d = n d_inf + c for all points. That is the same line and another fit: errors at large"
    " n count more. The task asks for least squares of the distances."
)
def multiplied_out(sizes: Tensor, distances: Tensor) -> float:
    return _fit(sizes, sizes * distances)[1].item()


@fid_infinity.also_right
def by_lstsq(sizes: Tensor, distances: Tensor) -> float:
    design = torch.stack([torch.ones_like(sizes), sizes.min() / sizes], dim=1)
    return torch.linalg.lstsq(design, distances[:, None]).solution[0, 0].item()


@fid_infinity.also_right
def by_centred_sums(sizes: Tensor, distances: Tensor) -> Tensor:
    return _fit(1 / sizes, distances)[0]


@fid_infinity.also_right
def by_normal_equations(sizes: Tensor, distances: Tensor) -> float:
    x = (1000 / sizes).tolist()
    y = distances.tolist()
    n, sx, sy = len(x), sum(x), sum(y)
    sxx, sxy = sum(a * a for a in x), sum(a * b for a, b in zip(x, y, strict=True))
    return (sxx * sy - sx * sxy) / (n * sxx - sx * sx)


# --- kernel_distance ----------------------------------------------------------------------------------


def _kernel_distance_cases(rng: Rng) -> Iterator[Case]:
    x, y = rng.normal(size=(7, 3)) + 0.8, rng.normal(size=(11, 3)) * 1.4
    yield call("seven and eleven images, different means", x=x, y=y)
    x, y = rng.normal(size=(9, 5)), rng.normal(size=(4, 5)) - 1.0
    yield call("more of the first than of the second", x=x, y=y)
    both = rng.normal(size=(6, 4)) * 1.5
    near = both[:5] + 0.01 * rng.normal(size=(5, 4))
    yield call("nearly the same images in both", x=both, y=near)  # below zero
    x, y = rng.normal(size=(2, 2)), rng.normal(size=(3, 2)) + 2.0
    yield call("two and three images", x=x, y=y)
    x, y = rng.normal(size=(6, 1)) * 2, rng.normal(size=(5, 1))
    yield call("one feature", x=x, y=y)


def _kernel_distance(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y)


def _mmd(
    x: Tensor,
    y: Tensor,
    kernel: Callable[[Tensor, Tensor], Tensor] = kid.kernel,
    cross: float = 2.0,
    pairs: Callable[[int], int] = lambda n: n * (n - 1),
    own: bool = False,
) -> float:
    """The right answer, with knobs for the wrong ones."""

    def within(a: Tensor) -> Tensor:
        matrix = kernel(a, a)
        total = matrix.sum() if own else matrix.sum() - matrix.diagonal().sum()
        return total / pairs(len(a))

    return (within(x) + within(y) - cross * kernel(x, y).mean()).item()


kernel_distance = Exercise(
    points=2, minutes=15, reference=_kernel_distance, cases=_kernel_distance_cases, rtol=1e-4, atol=1e-6
)


@kernel_distance.mistake(
    "Each image is paired with itself as well, which makes the first two means too large: the estimate "
    "is biased. Leave the diagonals out."
)
def biased(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, pairs=lambda n: n * n, own=True)


@kernel_distance.mistake(
    "The diagonals are left out of the sums, but you still divide by the number of all pairs. How many "
    "are left?"
)
def divided_by_all_pairs(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, pairs=lambda n: n * n)


@kernel_distance.mistake(
    "You divide by the number of pairs without the diagonals, but the diagonals are still in the sums."
)
def diagonals_kept(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, own=True)


@kernel_distance.mistake(
    "The two means within the sets come out at half of what they are. The sum over i ≠ j has every pair in "
    "both orders; whoever counts it once has half as many to divide by."
)
def half_the_pairs(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, pairs=lambda n: 2 * n * (n - 1))


@kernel_distance.mistake(
    "Pairs with equal index are left out between the two sets too. Image i of one set has nothing to do"
    " with image i of the other: these pairs are as independent as any."
)
def cross_without_diagonal(x: Tensor, y: Tensor) -> float:
    matrix = kid.kernel(x, y)
    left = matrix.sum() - matrix.diagonal().sum()
    right = (2 * left / (matrix.numel() - min(matrix.shape))).item()
    return _mmd(x, y, cross=0.0) - right


@kernel_distance.mistake("The mean over both sets counts twice: the factor 2 is missing.")
def cross_once(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, cross=1.0)


@kernel_distance.mistake("The mean over both sets is added. What the sets have in common makes them nearer.")
def cross_added(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, cross=-2.0)


@kernel_distance.mistake(
    "Between the sets you average over the images of one set and add up over those of the other. It is a "
    "mean over all pairs."
)
def cross_mean_over_one_set(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, cross=2.0 * len(y))


@kernel_distance.mistake("The product of two feature vectors is not divided by their width.")
def kernel_without_width(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, lambda a, b: (a @ b.T + 1) ** 3)


@kernel_distance.mistake(
    "You divide the product of two feature vectors by the number of images. The kernel has the number "
    "of features, so that it does not depend on who else is in the set."
)
def kernel_by_count(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, lambda a, b: (a @ b.T / len(a) + 1) ** 3)


@kernel_distance.mistake(
    "You divide by the root of the width, as in attention. This kernel divides by the width itself."
)
def kernel_by_root_of_width(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, lambda a, b: (a @ b.T / a.shape[1] ** 0.5 + 1) ** 3)


@kernel_distance.mistake(
    "The constant 1 is missing from the kernel. Without it only products of exactly three entries are "
    "compared, and means are not."
)
def kernel_without_one(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, lambda a, b: (a @ b.T / a.shape[1]) ** 3)


@kernel_distance.mistake(
    "The kernel is squared. It should be taken to the power of three: a square compares means and "
    "covariances only."
)
def kernel_squared(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, lambda a, b: (a @ b.T / a.shape[1] + 1) ** 2)


@kernel_distance.mistake(
    "That is a Gaussian kernel of distances. The one asked for is a polynomial of the product."
)
def gaussian_kernel(x: Tensor, y: Tensor) -> float:
    return _mmd(x, y, lambda a, b: torch.exp(-torch.cdist(a, b).square() / 2))


@kernel_distance.mistake(
    "The estimate is held above zero. An unbiased estimate of zero has to be negative now and then; cut"
    " off, it is biased again."
)
def held_above_zero(x: Tensor, y: Tensor) -> float:
    return max(0.0, _mmd(x, y))


@kernel_distance.mistake("The sign is lost. An unbiased estimate of zero has to be negative now and then.")
def without_sign(x: Tensor, y: Tensor) -> float:
    return abs(_mmd(x, y))


@kernel_distance.mistake("You return the root. The distance that is reported, and asked for, is the square.")
def root_of_distance(x: Tensor, y: Tensor) -> float:
    return max(0.0, _mmd(x, y)) ** 0.5


@kernel_distance.mistake(
    "You take a root, and it is NaN where the estimate is negative, as an unbiased one is now and then. "
    "Asked for is the square as it comes."
)
def root_of_negative(x: Tensor, y: Tensor) -> float:
    return torch.tensor(_mmd(x, y)).sqrt().item()


@kernel_distance.mistake(
    "The features are centred first, each set about its own mean. A difference of the means can then "
    "not be seen."
)
def centred(x: Tensor, y: Tensor) -> float:
    return _mmd(x - x.mean(dim=0), y - y.mean(dim=0))


@kernel_distance.mistake(
    "The features are shifted first, by one mean for both sets. This kernel has a fixed origin: products, "
    "unlike distances, depend on where it is."
)
def centred_together(x: Tensor, y: Tensor) -> float:
    centre = torch.cat([x, y]).mean(dim=0)
    return _mmd(x - centre, y - centre)


@kernel_distance.also_right
def pair_by_pair(x: Tensor, y: Tensor) -> float:
    def k(a: Tensor, b: Tensor) -> float:
        return float((sum(p * q for p, q in zip(a.tolist(), b.tolist(), strict=True)) / len(a) + 1) ** 3)

    xx = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    yy = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    xy = [k(a, b) for a in x for b in y]
    return sum(xx) / len(xx) + sum(yy) / len(yy) - 2 * sum(xy) / len(xy)


@kernel_distance.also_right
def by_mask(x: Tensor, y: Tensor) -> float:
    def within(a: Tensor) -> Tensor:
        matrix = torch.einsum("id,jd->ij", a, a).div(a.shape[1]).add(1).pow(3)
        return matrix[~torch.eye(len(a), dtype=torch.bool)].mean()

    return (within(x) + within(y) - 2 * kid.kernel(x, y).mean()).item()


@kernel_distance.also_right
def with_trace(x: Tensor, y: Tensor) -> Tensor:
    kxx, kyy, kxy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    m, n = len(x), len(y)
    first = (kxx.sum() - kxx.trace()) / (m * (m - 1))
    second = (kyy.sum() - kyy.trace()) / (n * (n - 1))
    return first + second - 2 * kxy.sum() / (m * n)


# --- precision_recall ---------------------------------------------------------------------------------

# On a line, made so that copies, points exactly on a radius and outliers each decide something (k = 1).
LINE_REAL = [0, 2, 7, 7, 8, 20, 24]
LINE_GENERATED = [4, 6, 7, 12, 16, 60, 61]


def _on_a_line(rng: Rng, places: list[int], where: np.ndarray, unit: int) -> np.ndarray:
    points = np.tile(where, (len(places), 1))
    points[:, 1] += unit * np.array(places)
    return rng.permutation(points).astype("float64")


def _precision_recall_cases(rng: Rng) -> Iterator[Case]:
    where, unit = rng.integers(-9, 10, size=3), int(rng.integers(1, 4))
    real = _on_a_line(rng, LINE_REAL, where, unit)
    generated = _on_a_line(rng, LINE_GENERATED, where, unit)
    yield call("copies, and points exactly on a radius", real=real, generated=generated, k=1)
    ring = rng.uniform(0, 2 * np.pi, size=24)
    real = 10 * np.stack([np.cos(ring), np.sin(ring)], axis=1) + rng.normal(size=(24, 2))
    generated = np.concatenate([real[:9] + 0.7 * rng.normal(size=(9, 2)), rng.normal(size=(6, 2))])
    yield call(
        "a ring, of which a part is generated, and a heap in its middle", real=real, generated=generated, k=2
    )
    clusters = rng.permutation(30 * np.eye(4))
    real = np.concatenate([clusters[0] + rng.normal(size=(9, 4)), clusters[1] + 5 * rng.normal(size=(8, 4))])
    generated = np.concatenate(
        [
            clusters[0] + 1.2 * rng.normal(size=(12, 4)),
            clusters[1] + 9 * rng.normal(size=(7, 4)),
            clusters[2:],
        ]
    )
    yield call("a tight and a wide cluster, and two outliers", real=real, generated=generated, k=3)
    for k in (1, 2, 3):
        real, generated = rng.normal(size=(32, 5)), rng.normal(size=(23, 5)) * 1.2 + 0.3
        yield call("two clouds that overlap", real=real, generated=generated, k=k)
    tight_and_wide = [0, 1, 10], [3, 4, 30, 31, 32]
    real, generated = (_on_a_line(rng, places, where, unit) for places in tight_and_wide)
    yield call("a wide ball over the edge of a tight one", real=real, generated=generated, k=1)


def _all_distances(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b).square().sum(dim=-1).sqrt()


Distances = Callable[[Tensor, Tensor], Tensor]


def _radii(points: Tensor, k: int, distances: Distances = _all_distances) -> Tensor:
    return distances(points, points).kthvalue(k + 1, dim=1).values


def _share_inside(
    points: Tensor, centres: Tensor, radii: Tensor, distances: Distances = _all_distances
) -> float:
    return (distances(points, centres) <= radii).any(dim=1).double().mean().item()


def _precision_recall(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = _share_inside(generated, real, _radii(real, k))
    return precision, _share_inside(real, generated, _radii(generated, k))


precision_recall = Exercise(points=3, minutes=25, reference=_precision_recall, cases=_precision_recall_cases)


@precision_recall.mistake(
    "Precision and recall are exchanged. Precision judges the generated images by the balls around the "
    "real ones."
)
def exchanged(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    return _precision_recall(generated, real, k)


@precision_recall.mistake(
    "Each point is counted as its own nearest neighbour, at distance 0, so the balls reach one "
    "neighbour less far than they should."
)
def itself_counted(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = _share_inside(generated, real, _radii(real, k - 1))
    return precision, _share_inside(real, generated, _radii(generated, k - 1))


@precision_recall.mistake(
    "The balls reach to one neighbour more than `k`. With the zero of the point itself in the row, the "
    "k-th neighbour stands in place k + 1, counted from 1."
)
def one_too_far(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = _share_inside(generated, real, _radii(real, k + 1))
    return precision, _share_inside(real, generated, _radii(generated, k + 1))


@precision_recall.mistake(
    "You count neighbours from the far end. Sorted by distance, the nearest come first: `k` is a place from "
    "that end."
)
def kth_furthest(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = _share_inside(generated, real, _radii(real, len(real) - k))
    return precision, _share_inside(real, generated, _radii(generated, len(generated) - k))


@precision_recall.mistake(
    "A point at exactly the radius is counted as outside. The ball includes its edge; otherwise a "
    "copied training image could be outside."
)
def edge_excluded(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = (_all_distances(generated, real) < _radii(real, k)).any(dim=1)
    recall = (_all_distances(real, generated) < _radii(generated, k)).any(dim=1)
    return precision.double().mean().item(), recall.double().mean().item()


@precision_recall.mistake(
    "All balls of a set have the mean radius. Each has its own: small where points are dense, large "
    "where they are sparse."
)
def mean_radius(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = _share_inside(generated, real, _radii(real, k).mean())
    return precision, _share_inside(real, generated, _radii(generated, k).mean())


@precision_recall.mistake("All balls of a set have the radius of the largest. Each point has its own.")
def largest_radius(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = _share_inside(generated, real, _radii(real, k).max())
    return precision, _share_inside(real, generated, _radii(generated, k).max())


@precision_recall.mistake(
    "You look only into the ball of the nearest centre. A point may lie in the large ball of a centre "
    "further away."
)
def nearest_ball_only(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    def share(points: Tensor, centres: Tensor) -> float:
        nearest = _all_distances(points, centres).min(dim=1)
        return (nearest.values <= _radii(centres, k)[nearest.indices]).double().mean().item()

    return share(generated, real), share(real, generated)


@precision_recall.mistake(
    "The point's own ball is used, and you ask whether it holds a point of the other set. For precision"
    " the balls are those of the real images, and it is a generated one that has to lie inside."
)
def own_balls(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    cross = _all_distances(generated, real)
    precision = (cross <= _radii(generated, k)[:, None]).any(dim=1).double().mean().item()
    return precision, (cross <= _radii(real, k)).any(dim=0).double().mean().item()


@precision_recall.mistake(
    "The second number is the share of real balls that hold a generated image. That is coverage, a good"
    " measure, and another one: recall has balls around the generated images."
)
def coverage_for_recall(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    inside = _all_distances(generated, real) <= _radii(real, k)
    return inside.any(dim=1).double().mean().item(), inside.any(dim=0).double().mean().item()


@precision_recall.mistake(
    "The radii are distances to the other set. A ball reaches to the k-th nearest point of its own set."
)
def radii_across(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    cross = _all_distances(generated, real)
    precision = (cross <= cross.kthvalue(k, dim=0).values).any(dim=1).double().mean().item()
    return precision, (cross <= cross.kthvalue(k, dim=1).values[:, None]).any(dim=0).double().mean().item()


@precision_recall.mistake(
    "Squared distances are compared with radii that are not squared. Either will do, but the same on "
    "both sides."
)
def squares_against_radii(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = (_all_distances(generated, real).square() <= _radii(real, k)).any(dim=1)
    recall = (_all_distances(real, generated).square() <= _radii(generated, k)).any(dim=1)
    return precision.double().mean().item(), recall.double().mean().item()


@precision_recall.mistake("You measure sums of absolute differences. Balls are Euclidean here.")
def city_blocks(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    def blocks(a: Tensor, b: Tensor) -> Tensor:
        return torch.cdist(a, b, p=1)

    precision = _share_inside(generated, real, _radii(real, k, blocks), blocks)
    return precision, _share_inside(real, generated, _radii(generated, k, blocks), blocks)


@precision_recall.mistake(
    "Distances of zero are skipped when the neighbours are counted. A point is not its own neighbour, "
    "but an exact copy of it is one, at distance 0."
)
def copies_skipped(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    def radii(points: Tensor) -> Tensor:
        distances = _all_distances(points, points)
        return distances.masked_fill(distances == 0, torch.inf).kthvalue(k, dim=1).values

    return _share_inside(generated, real, radii(real)), _share_inside(real, generated, radii(generated))


@precision_recall.mistake(
    "Repeated points are removed before anything is measured. Each image counts, copies too: for the shares, "
    "and as a neighbour."
)
def repetitions_removed(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    return _precision_recall(real.unique(dim=0), generated.unique(dim=0), k)


@precision_recall.mistake(
    "You average over all pairs of a point and a ball. A point counts once, if there is any ball that "
    "holds it."
)
def mean_over_pairs(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = (_all_distances(generated, real) <= _radii(real, k)).double().mean().item()
    return precision, (_all_distances(real, generated) <= _radii(generated, k)).double().mean().item()


@precision_recall.mistake(
    "The right points are counted, and divided by the number of the other set. Precision is a share of "
    "the generated images, recall a share of the real ones."
)
def divided_by_the_others(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision, recall = _precision_recall(real, generated, k)
    ratio = len(generated) / len(real)
    return precision * ratio, recall / ratio


@precision_recall.also_right
def by_sorting(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    def share(points: Tensor, centres: Tensor) -> float:
        radii = _all_distances(centres, centres).sort(dim=1).values[:, k]
        return (_all_distances(centres, points) <= radii[:, None]).any(dim=0).double().mean().item()

    return share(generated, real), share(real, generated)


@precision_recall.also_right
def by_squares(real: Tensor, generated: Tensor, k: int) -> tuple[Tensor, Tensor]:
    def squares(a: Tensor, b: Tensor) -> Tensor:
        return (a[:, None] - b).square().sum(dim=-1)

    def share(points: Tensor, centres: Tensor) -> Tensor:
        own = squares(centres, centres)
        own.fill_diagonal_(torch.inf)
        return (squares(points, centres) <= own.kthvalue(k, dim=1).values).any(dim=1).double().mean()

    return share(generated, real), share(real, generated)


@precision_recall.also_right
def by_cdist(real: Tensor, generated: Tensor, k: int) -> tuple[float, float]:
    precision = _share_inside(generated, real, _radii(real, k, torch.cdist), torch.cdist)
    return precision, _share_inside(real, generated, _radii(generated, k, torch.cdist), torch.cdist)


@precision_recall.also_right
def point_by_point(real: Tensor, generated: Tensor, k: int) -> list[float]:
    def share(points: Tensor, centres: Tensor) -> float:
        found = 0
        for point in points:
            for i, centre in enumerate(centres):
                others = torch.cat([centres[:i], centres[i + 1 :]])
                radius = (others - centre).norm(dim=1).sort().values[k - 1]
                if (point - centre).norm() <= radius:
                    found += 1
                    break
        return found / len(points)

    return [share(generated, real), share(real, generated)]


# --- copied_share -------------------------------------------------------------------------------------


def _images(rng: Rng, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Pixels that are multiples of 1/8, so that sums of squares are exact however they are computed."""
    return (rng.integers(-8, 9, size=(count, *shape)) / 8).astype("float32")


def _nudged(rng: Rng, images: np.ndarray, pixels: int, step: float | np.ndarray = 0.5) -> np.ndarray:
    """Copies in which this many pixels have moved by ``step``, one for all or one for each."""
    changed = images.reshape(len(images), -1).copy()
    for row in changed:
        row[rng.choice(len(row), size=pixels, replace=False)] += step * rng.choice([-1, 1], size=pixels)
    return changed.reshape(images.shape)


def _copied_share_cases(rng: Rng) -> Iterator[Case]:
    for label, shape, held, at in (
        ("small images of two channels", (2, 3, 4), 9, 0.25),
        ("images that are wider than high", (1, 3, 7), 8, 0.4),
    ):
        training = _images(rng, 12, shape)
        steps = rng.permutation(held) + 2  # pixels by which held-out images differ from a training image
        heldout = np.concatenate([_nudged(rng, training[i : i + 1], n) for i, n in enumerate(steps.tolist())])
        inside, outside = _nudged(rng, training[8:11], 1), _nudged(rng, training[9:12], held + 3)
        between = [_nudged(rng, training[i : i + 1], n) for i, n in ((0, 5), (3, 7))]
        # a held-out image itself: nearer to the held-out ones than to any training image
        shown = heldout[[int(steps.argmax()), int(np.argsort(steps)[2])]]
        generated = np.concatenate([inside, outside, *between, shown, _images(rng, 2, shape)])
        yield call(label, generated=rng.permutation(generated), heldout=heldout, training=training, at=at)
    training = _images(rng, 10, (3, 2, 4))
    heldout = np.concatenate([_nudged(rng, training[i : i + 1], i + 4) for i in range(6)])
    grey = np.roll(training[3:6], 1, axis=1)  # the channels in another order: as grey as they were
    moved, fresh = _nudged(rng, training[:1], 2), _images(rng, 1, (3, 2, 4))
    generated = np.concatenate([training[[2, 2, 7]], moved, fresh, grey])
    yield call("exact copies among them", generated=generated, heldout=heldout, training=training, at=0.2)
    training = _images(rng, 20, (1, 4, 5))
    sources, steps = rng.permutation(20).tolist(), (rng.permutation(19) + 1).tolist()
    nudged = [_nudged(rng, training[i : i + 1], n) for i, n in zip(sources, steps, strict=False)]
    near = _nudged(rng, training[:2], 1, step=0.125)
    decoys = _images(rng, 3, (1, 4, 5))  # like training images in their first row only
    decoys[:, :, 0] = training[3:6, :, 0]
    shuffled = rng.permuted(training[6:9].reshape(3, -1), axis=1).reshape(3, 1, 4, 5)  # as bright as these
    heldout, generated = np.concatenate(nudged[:11]), np.concatenate([*nudged[11:], near, decoys, shuffled])
    label = "images at all distances, two of them all but copies"
    yield call(label, generated=generated, heldout=heldout, training=training, at=0.3)
    training = _images(rng, 15, (2, 2, 6))
    heldout = np.concatenate([_nudged(rng, training[i : i + 1], i + 6) for i in rng.permutation(8).tolist()])
    spots, faint = _nudged(rng, training[:8], 1, step=1.625), _nudged(rng, training[8:10], 24, step=0.25)
    # the radius lies between the distances of two held-out images: at the nearer, and on both sides of it
    tails = [0.0], [0.125], [0.25]
    edge = [_nudged(rng, training[10 + i : 11 + i], 10, np.array(9 * [0.5] + tails[i])) for i in range(3)]
    lopsided = training[13:].copy()
    lopsided[:, :1] = _nudged(rng, training[13:, :1], 8)  # in one channel only
    generated = np.concatenate([spots, faint, *edge, lopsided, _images(rng, 2, (2, 2, 6))])
    label = "bright spots, and faint changes all over"
    yield call(label, generated=generated, heldout=heldout, training=training, at=0.45)


def _to_nearest(images: Tensor, others: Tensor) -> Tensor:
    return _all_distances(images.flatten(1).double(), others.flatten(1).double()).min(dim=1).values


def _copied_share(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    radius = _to_nearest(heldout, training).quantile(at)
    return (_to_nearest(generated, training) <= radius).double().mean().item()


copied_share = Exercise(points=2, minutes=15, reference=_copied_share, cases=_copied_share_cases)


@copied_share.mistake(
    "You measure how far generated images are from held-out ones. A copy is near to a training image; "
    "the held-out ones only say what distance is normal."
)
def near_to_heldout(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    radius = _to_nearest(heldout, training).quantile(at)
    return (_to_nearest(generated, heldout) <= radius).double().mean().item()


@copied_share.mistake(
    "The radius comes from the training images and their distances to the training set, which are all "
    "zero. It has to come from images that were not trained on."
)
def radius_of_training(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    radius = _to_nearest(training, training).quantile(at)
    return (_to_nearest(generated, training) <= radius).double().mean().item()


@copied_share.mistake(
    "The radius comes from the generated images' own distances, so the share is `at` whatever the "
    "generator does."
)
def radius_of_generated(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    distances = _to_nearest(generated, training)
    return (distances <= distances.quantile(at)).double().mean().item()


@copied_share.mistake(
    "You took the quantile at the other end: nearly all held-out images lie within your radius. Only "
    "the share `at` should."
)
def other_end(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    return _copied_share(generated, heldout, training, 1 - at)


@copied_share.mistake("A distance of exactly the radius counts as within it.")
def edge_left_out(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    radius = _to_nearest(heldout, training).quantile(at)
    return (_to_nearest(generated, training) < radius).double().mean().item()


@copied_share.mistake(
    "You average the distances to all training images. A copy is near to one of them and far from the "
    "rest: take the smallest."
)
def mean_distance(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    def distance(images: Tensor) -> Tensor:
        return _all_distances(images.flatten(1).double(), training.flatten(1).double()).mean(dim=1)

    return (distance(generated) <= distance(heldout).quantile(at)).double().mean().item()


@copied_share.mistake(
    "You take the furthest training image. A copy is near to one of them: take the nearest."
)
def furthest(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    def distance(images: Tensor) -> Tensor:
        return _all_distances(images.flatten(1).double(), training.flatten(1).double()).max(dim=1).values

    return (distance(generated) <= distance(heldout).quantile(at)).double().mean().item()


@copied_share.mistake(
    "`at` is used as the radius itself. It is a share: the radius is the distance within which that "
    "share of the held-out images lies."
)
def share_as_radius(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    return (_to_nearest(generated, training) <= at).double().mean().item()


@copied_share.mistake(
    "`at` has no effect: the radius is a mean or a median of the held-out images' distances, so about "
    "half of all new images would count as copies."
)
def median_radius(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    return _copied_share(generated, heldout, training, 0.5)


@copied_share.mistake(
    "Your radius is the distance of one of the held-out images. Where the share falls between two of them, "
    "`torch.quantile` interpolates."
)
def without_interpolation(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    radius = _to_nearest(heldout, training).quantile(at, interpolation="lower")
    return (_to_nearest(generated, training) <= radius).double().mean().item()


@copied_share.mistake(
    "You count training images that were copied. The share is one of the generated images: a generator "
    "that hands out one training image all the time copies in all of them."
)
def share_of_training(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    radius = _to_nearest(heldout, training).quantile(at)
    return (_to_nearest(training, generated) <= radius).double().mean().item()


@copied_share.mistake(
    "You return the share that lies beyond the radius. Those are the images that are not copies."
)
def share_beyond(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    return 1 - _copied_share(generated, heldout, training, at)


@copied_share.mistake(
    "You compare images by their mean brightness. The distance runs over all channels and pixels, each with "
    "the one at its own place: flatten from the second axis on."
)
def brightness(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    ours, theirs, seen = (x.mean(dim=(1, 2, 3), keepdim=True) for x in (heldout, generated, training))
    return _copied_share(theirs, ours, seen, at)


@copied_share.mistake(
    "The distance is taken along the last axis, row by row, so one row that two images share makes them "
    "equal. An image is one point: flatten all axes but the first."
)
def row_by_row(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    def nearest(images: Tensor) -> Tensor:
        return (images[:, None] - training).double().norm(dim=-1).amin(dim=(1, 2, 3))

    return (nearest(generated) <= nearest(heldout).quantile(at)).double().mean().item()


@copied_share.mistake(
    "The norms of the rows are averaged. Squares of all differences of an image are added, and one root is "
    "taken: flatten all axes but the first."
)
def mean_of_rows(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    def nearest(images: Tensor) -> Tensor:
        return (images[:, None] - training).double().norm(dim=-1).mean(dim=(2, 3)).amin(dim=1)

    return (nearest(generated) <= nearest(heldout).quantile(at)).double().mean().item()


@copied_share.mistake("You add absolute differences. The distance asked for is Euclidean.")
def city_blocks_of_pixels(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    def nearest(images: Tensor) -> Tensor:
        return (images[:, None] - training).double().abs().sum(dim=(2, 3, 4)).amin(dim=1)

    return (nearest(generated) <= nearest(heldout).quantile(at)).double().mean().item()


@copied_share.also_right
def by_broadcasting(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> Tensor:
    def nearest(images: Tensor) -> Tensor:
        return (images[:, None] - training).square().sum(dim=(2, 3, 4)).sqrt().amin(dim=1)

    return (nearest(generated) <= torch.quantile(nearest(heldout), at)).float().mean()


@copied_share.also_right
def by_cdist_of_flat(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    ours, theirs = (torch.cdist(x.flatten(1), training.flatten(1)).amin(dim=1) for x in (heldout, generated))
    return (theirs <= ours.quantile(at)).double().mean().item()


@copied_share.also_right
def by_root_mean_square(generated: Tensor, heldout: Tensor, training: Tensor, at: float) -> float:
    def nearest(image: Tensor) -> float:
        return min(((image - other) ** 2).mean().sqrt().item() for other in training.double())

    radius = np.quantile([nearest(image) for image in heldout.double()], at)
    return sum(nearest(image) <= radius for image in generated.double()) / len(generated)


# --- compare_generators -------------------------------------------------------------------------------


def _runs(rng: Rng, seeds: int, mean: float, std: float) -> np.ndarray:
    """Distances with exactly this mean and standard deviation."""
    values = rng.normal(size=seeds)
    if seeds > 1:
        values = (values - values.mean()) / values.std(ddof=1)
    return mean + std * values if seeds > 1 else np.array([mean])


def _compare_generators_cases(rng: Rng) -> Iterator[Case]:
    def pair(
        label: str,
        seeds: tuple[int, int],
        errors: float,
        *,
        images: tuple[int, int] = (5000, 5000),
        spread: tuple[float, float] = (0.4, 0.6),
        middle: float = 12.0,
    ) -> Case:
        """The mean of b lies ``errors`` standard errors above that of a."""
        error = math.sqrt(sum(s * s / n for s, n in zip(spread, seeds, strict=True)))
        a = _runs(rng, seeds[0], middle, spread[0])
        b = _runs(rng, seeds[1], middle + errors * error, spread[1])
        return call(label, distances_a=a, distances_b=b, images_a=images[0], images_b=images[1])

    clear = float(rng.uniform(4, 6))
    yield pair("a clear difference", (4, 5), clear)
    yield pair("a clear difference the other way", (5, 3), -clear)
    yield pair("a difference within the error", (4, 4), float(rng.uniform(0.5, 1.1)))
    yield pair("a difference within the error, the other way", (3, 6), -float(rng.uniform(0.5, 1.1)))
    yield pair(
        "a clear difference, measured with other numbers of images", (4, 4), clear, images=(5000, 50_000)
    )
    yield pair(
        "a clear difference the other way, measured with fewer images", (5, 4), -clear, images=(5000, 2500)
    )
    yield pair("a single seed each, measured alike", (1, 1), 9.0)
    yield pair("a single seed beside many", (1, 8), -9.0)
    yield pair("many seeds beside a single one", (6, 1), 9.0)
    yield pair("a single seed each, and other numbers of images", (1, 1), 9.0, images=(1000, 2000))
    yield pair("many seeds that overlap", (60, 60), 5.0)
    yield pair("many seeds that overlap, the other way", (50, 70), -5.0)
    a = np.array([9.0, 13.1, 13.0, 13.2, 12.9, 13.1, 13.0, 13.2, 12.8, 13.0, 13.1, 12.9]) + rng.normal(
        scale=0.02, size=12
    )
    b = np.array([11.1, 11.0, 10.9, 11.2, 10.8, 11.0]) + rng.normal(scale=0.02, size=6)
    label = "a lucky first seed"
    yield call(label, distances_a=a, distances_b=b, images_a=5000, images_b=5000)
    yield call(label + " of the other", distances_a=b, distances_b=a, images_a=5000, images_b=5000)
    label = "a lucky last seed"
    yield call(label, distances_a=a[::-1].copy(), distances_b=b, images_a=5000, images_b=5000)
    yield pair("two seeds each, far apart", (2, 2), 9.0)
    yield pair("two seeds beside three, far apart", (2, 3), -9.0)
    yield pair("two and three seeds, a little less than twice the error", (2, 3), 1.9)
    label = "as many seeds each, a little more than twice the error"
    yield pair(label, (6, 6), 2.2, spread=(0.5, 0.5))
    label = "one model steady, the other not, a little more than twice the error"
    yield pair(label, (6, 6), 2.15, spread=(0.01, 0.5))
    yield pair("many seeds each, two and a half times the error", (40, 40), 2.5, spread=(0.5, 0.5))
    within = float(rng.uniform(0.7, 1.1))
    label = "many runs that scatter widely, and a difference within the error"
    yield pair(label, (50, 60), -within, spread=(40.0, 30.0), middle=300.0)
    label = "a dozen seeds each"  # the means differ by more than both spreads together
    yield pair(label, (12, 12), float(rng.uniform(5.5, 6)))
    label = "a few unsteady runs beside many steady ones"
    yield pair(label, (3, 40), float(rng.uniform(0.7, 1.0)), spread=(2.0, 0.1))
    failing = np.concatenate([np.full(24, 10.0), np.full(16, 14.0)]) + rng.normal(scale=0.05, size=40)
    steady = rng.normal(10, 0.05, size=40)
    label = "a model that fails in two of five runs"
    yield call(label, distances_a=failing, distances_b=steady, images_a=5000, images_b=5000)
    together = rng.permutation(_runs(rng, 6, 12.0, 0.5))
    label = "runs that happen to rise and fall together"
    yield call(
        label,
        distances_a=together + rng.normal(0.25, 0.01, size=6),
        distances_b=together,
        images_a=5000,
        images_b=5000,
    )
    tight = 10 + np.array([-0.001, 0.001]) + rng.normal(scale=1e-4, size=2)
    wide = 10 + np.array([0.03, 1.0])
    yield call("two seeds each", distances_a=tight, distances_b=wide, images_a=5000, images_b=5000)


def _verdict(
    a: Tensor,
    b: Tensor,
    images_a: int,
    images_b: int,
    *,
    error: Callable[[Tensor], Tensor] = lambda x: x.var() / len(x),
    combined: Callable[[Tensor, Tensor], Tensor] = lambda one, other: (one + other).sqrt(),
    times: float = 2.0,
    centre: Callable[[Tensor], Tensor] = torch.mean,
    count: bool = True,
    single: bool = True,
) -> str:
    """The right answer, with knobs for the wrong ones."""
    if count and images_a != images_b:
        return "not comparable"
    if single and min(len(a), len(b)) < 2:
        return "undecided"
    gap = centre(b) - centre(a)
    if gap.abs() <= times * combined(error(a), error(b)):
        return "undecided"
    return "a" if gap > 0 else "b"


def _compare_generators(distances_a: Tensor, distances_b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(distances_a, distances_b, images_a, images_b)


compare_generators = Exercise(
    points=2, minutes=15, reference=_compare_generators, cases=_compare_generators_cases
)


def _no_error(x: Tensor) -> Tensor:
    return x.new_zeros(())


@compare_generators.mistake(
    "The model with the larger distance wins with you. A distance to the real images should be small."
)
def larger_is_better(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(b, a, images_a, images_b)


@compare_generators.mistake(
    "The number of images has no say. Measured with fewer images a distance is larger by bias alone, "
    "however clear the difference looks."
)
def counts_ignored(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, count=False)


@compare_generators.mistake(
    "A single run decides. How far would another seed of the same recipe fall? From one seed nobody can tell."
)
def single_run_decides(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    def error(x: Tensor) -> Tensor:
        return x.var() / len(x) if len(x) > 1 else x.new_zeros(())

    return _verdict(a, b, images_a, images_b, error=error, single=False)


@compare_generators.mistake(
    "The means alone decide, however small their difference. Compare it with its standard error."
)
def means_alone(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, error=_no_error)


@compare_generators.mistake(
    "You compare the best seed of each. The best of many is better than the best of few by luck, and "
    "says nothing about the next run."
)
def best_seed(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, centre=torch.min)


@compare_generators.mistake("You compare the first seed of each. All runs count.")
def first_seed(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, centre=lambda x: x[0])


@compare_generators.mistake(
    "You compare with the spread of the runs, which does not shrink with their number. The error of a "
    "mean does: it is the standard deviation over the root of the number of seeds."
)
def spread_for_error(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, error=torch.var)


@compare_generators.mistake(
    "You ask whether the intervals of mean and standard deviation overlap. These say how far single runs lie "
    "apart, not how well the means are known: with many seeds they overlap though the means surely differ."
)
def intervals_overlap(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    verdict = _verdict(a, b, images_a, images_b, error=_no_error)
    if verdict in "ab" and (a.mean() - b.mean()).abs() <= a.std() + b.std():
        return "undecided"
    return verdict


@compare_generators.mistake(
    "You use one variance for both models, pooled. A model with many steady runs then hides how unsteady the "
    "other one is: each has its own variance, divided by its own number of seeds."
)
def pooled_variance(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    inside = (a - a.mean()).square().sum() + (b - b.mean()).square().sum()
    pooled = inside / max(1, len(a) + len(b) - 2)
    return _verdict(a, b, images_a, images_b, error=lambda x: pooled / len(x))


@compare_generators.mistake(
    "That is the biased variance: `np.var` and `np.std` divide by n. Divide by n - 1."
)
def biased_variance(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, error=lambda x: x.var(correction=0) / len(x))


@compare_generators.mistake(
    "You add the two standard errors, or ask whether two intervals overlap. Errors of independent means add "
    "as squares."
)
def errors_added(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, combined=lambda one, other: one.sqrt() + other.sqrt())


@compare_generators.mistake(
    "You compare with one standard error of the difference. Chance alone exceeds that in about one case of "
    "three: the list asks for two."
)
def one_error(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, times=1.0)


@compare_generators.mistake(
    "You ask for three standard errors of the difference. That is more careful than the list, which asks for "
    "two."
)
def three_errors(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, times=3.0)


@compare_generators.mistake(
    "That is a t test. With few seeds it is the better tool, and its line lies elsewhere: the list draws it "
    "at twice the standard error, however many seeds there are."
)
def by_t_test(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    if min(len(a), len(b)) < 2:
        return _verdict(a, b, images_a, images_b)
    (u, v), (m, n) = ((x.var().item() / len(x) for x in (a, b)), (len(a), len(b)))
    freedom = (u + v) ** 2 / (u * u / (m - 1) + v * v / (n - 1))  # Welch's
    return _verdict(a, b, images_a, images_b, times=_student_quantile(freedom))


def _student_quantile(freedom: float) -> float:
    """Student's t at 97.5 %, a series in 1 over the degrees of freedom (Abramowitz and Stegun, 26.7.5)."""
    z = 1.959964
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


@compare_generators.mistake(
    "You pair the runs, first with first and so on. Seeds of different models have nothing to do with one "
    "another, and need not be equally many."
)
def paired(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    verdict = _verdict(a, b, images_a, images_b, error=_no_error)
    if verdict in "ab" and (a - b).mean().abs() <= 2 * (a - b).std() / len(a) ** 0.5:
        return "undecided"
    return verdict


@compare_generators.mistake(
    "You compare medians. A model that fails in some of its runs hides that from a median; the task compares "
    "means."
)
def medians(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return _verdict(a, b, images_a, images_b, centre=torch.median)


@compare_generators.mistake(
    "You ask whether the ranges of the runs overlap. Many runs always overlap somewhere, however "
    "different their means; two runs may miss each other by luck."
)
def ranges_overlap(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    if images_a != images_b:
        return "not comparable"
    if min(len(a), len(b)) < 2:
        return "undecided"
    if a.max() < b.min():
        return "a"
    return "b" if b.max() < a.min() else "undecided"


@compare_generators.mistake(
    "The number of seeds is looked at first. Two numbers that cannot be compared stay so with however "
    "many seeds: the first line of the list comes first."
)
def seeds_first(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    return "undecided" if min(len(a), len(b)) < 2 else _verdict(a, b, images_a, images_b)


@compare_generators.also_right
def by_numpy(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    if images_a != images_b:
        return "not comparable"
    x, y = a.numpy(), b.numpy()
    if x.size == 1 or y.size == 1:
        return "undecided"
    error = np.sqrt(np.var(x, ddof=1) / x.size + np.var(y, ddof=1) / y.size)
    if np.abs(x.mean() - y.mean()) <= 2 * error:
        return "undecided"
    return "a" if x.mean() < y.mean() else "b"


@compare_generators.also_right
def by_standard_errors(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    if images_a != images_b:
        return "not comparable"
    if len(a) < 2 or len(b) < 2:
        return "undecided"
    error = torch.hypot(a.std() / len(a) ** 0.5, b.std() / len(b) ** 0.5)
    z = (a.mean() - b.mean()) / error
    if z.abs() <= 2:
        return "undecided"
    return "b" if z > 0 else "a"


@compare_generators.also_right
def nested(a: Tensor, b: Tensor, images_a: int, images_b: int) -> str:
    if images_a == images_b:
        if len(a) >= 2 and len(b) >= 2:
            gap = a.mean().item() - b.mean().item()
            error = (a.var().item() / len(a) + b.var().item() / len(b)) ** 0.5
            if gap > 2 * error:
                return "b"
            if -gap > 2 * error:
                return "a"
        return "undecided"
    return "not comparable"
