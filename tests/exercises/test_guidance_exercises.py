"""Wrong answers that the exercises on guidance do not list are rejected; further right ones pass."""

import numpy as np
import pytest
import torch
from collected import Collected

from genimg_ref.exercises import find
from genimg_ref.exercises.engine import Outcome, diagnose

wrong, right = Collected(), Collected()


def column(values):
    return values.reshape(-1, 1, 1, 1)


# ---- classifier_guided -------------------------------------------------------------------------------------


@wrong("classifier_guided")
def both_scaled(eps, gradient, sigma, scale):
    return scale * (eps - column(sigma) * gradient)


@wrong("classifier_guided")
def mixed_by_scale(eps, gradient, sigma, scale):
    return (1 - scale) * eps - scale * column(sigma) * gradient


@wrong("classifier_guided")
def sigma_on_the_noise(eps, gradient, sigma, scale):
    return column(sigma) * (eps - scale * gradient)


@wrong("classifier_guided")
def unit_gradient(eps, gradient, sigma, scale):
    return eps - scale * column(sigma) * torch.nn.functional.normalize(gradient.flatten(1)).view_as(gradient)


@wrong("classifier_guided")
def mean_level(eps, gradient, sigma, scale):
    return eps - scale * sigma.mean() * gradient


@wrong("classifier_guided")
def squared_scale(eps, gradient, sigma, scale):
    return eps - scale**2 * column(sigma) * gradient


@right("classifier_guided")
def by_addcmul(eps, gradient, sigma, scale):
    return torch.addcmul(eps, column(sigma), gradient, value=-scale)


@right("classifier_guided")
def in_double(eps, gradient, sigma, scale):
    return (eps.double() - scale * column(sigma.double()) * gradient.double()).float()


# ---- drop_labels -------------------------------------------------------------------------------------------


@wrong("drop_labels")
def float_labels(labels, null, probability, rng):
    return torch.where(torch.rand(len(labels), generator=rng) < probability, float(null), labels.float())


@wrong("drop_labels")
def random_class(labels, null, probability, rng):
    dropped = torch.rand(len(labels), generator=rng) < probability
    return torch.where(dropped, torch.randint(null, labels.shape, generator=rng), labels)


@wrong("drop_labels")
def exact_share(labels, null, probability, rng):
    rows = torch.rand(len(labels), generator=rng).argsort()[: round(probability * len(labels))]
    return labels.index_fill(0, rows, null)


@wrong("drop_labels")
def after_null(labels, null, probability, rng):
    return torch.where(torch.rand(len(labels), generator=rng) < probability, null + 1, labels)


@wrong("drop_labels")
def half_of_it(labels, null, probability, rng):
    return torch.where(torch.rand(len(labels), generator=rng) < probability / 2, null, labels)


@wrong("drop_labels")
def own_seed(labels, null, probability, rng):
    rng.manual_seed(0)
    return torch.where(torch.rand(len(labels), generator=rng) < probability, null, labels)


@right("drop_labels")
def arithmetically(labels, null, probability, rng):
    dropped = (torch.rand(len(labels), generator=rng) < probability).long()
    return dropped * null + (1 - dropped) * labels


@right("drop_labels")
def label_by_label(labels, null, probability, rng):
    draws = torch.rand(len(labels), generator=rng).tolist()
    return torch.tensor([null if u < probability else k for u, k in zip(draws, labels.tolist(), strict=True)])


# ---- guided ------------------------------------------------------------------------------------------------


def weight(scale, t, low, high, other=1.0):
    return column(torch.where((t >= low) & (t <= high), scale, other))


@wrong("guided")
def halved_scale(unconditional, conditional, scale, t, low, high):
    w = weight(scale, t, low, high)
    return unconditional + (1 + w) / 2 * (conditional - unconditional)


@wrong("guided")
def normalised_weights(unconditional, conditional, scale, t, low, high):
    w = weight(scale, t, low, high)
    return (w * conditional + unconditional) / (1 + w)


@wrong("guided")
def mean_time(unconditional, conditional, scale, t, low, high):
    return unconditional + (scale if low <= t.mean() <= high else 1.0) * (conditional - unconditional)


@wrong("guided")
def lower_end_alone(unconditional, conditional, scale, t, low, high):
    w = column(torch.where((t >= low) & (t < high), scale, 1.0))
    return unconditional + w * (conditional - unconditional)


@wrong("guided")
def upper_end_alone(unconditional, conditional, scale, t, low, high):
    w = column(torch.where((t > low) & (t <= high), scale, 1.0))
    return unconditional + w * (conditional - unconditional)


@wrong("guided")
def never_below_one(unconditional, conditional, scale, t, low, high):
    return unconditional + weight(max(scale, 1.0), t, low, high) * (conditional - unconditional)


@wrong("guided")
def growing_with_time(unconditional, conditional, scale, t, low, high):
    return unconditional + weight(scale, t, low, high) * column(t) * (conditional - unconditional)


@wrong("guided")
def square_root_of_scale(unconditional, conditional, scale, t, low, high):
    return unconditional + weight(scale**0.5, t, low, high) * (conditional - unconditional)


@right("guided")
def from_the_conditional_with_one_less(unconditional, conditional, scale, t, low, high):
    inside = column(((t >= low) & (t <= high)).float())
    return conditional + inside * (scale - 1) * (conditional - unconditional)


@right("guided")
def one_set_then_the_other(unconditional, conditional, scale, t, low, high):
    made = conditional.clone()
    rows = torch.logical_and(low <= t, t <= high)
    made[rows] = scale * conditional[rows] + (1 - scale) * unconditional[rows]
    return made


# ---- rescaled ----------------------------------------------------------------------------------------------


@wrong("rescaled")
def to_unit_spread(strong, conditional, share):
    mended = strong / strong.std(dim=(1, 2, 3), keepdim=True)
    return share * mended + (1 - share) * strong


@wrong("rescaled")
def never_larger(strong, conditional, share):
    return torch.minimum(strong, conditional)


@wrong("rescaled")
def clipped(strong, conditional, share):
    return share * strong.clamp(-1, 1) + (1 - share) * strong


@wrong("rescaled")
def ratio_to_a_power(strong, conditional, share):
    ratio = conditional.flatten(1).std(1) / strong.flatten(1).std(1)
    return strong * column(ratio**share)


@wrong("rescaled")
def by_ranges(strong, conditional, share):
    def size(x):
        return x.flatten(1).amax(1) - x.flatten(1).amin(1)

    return strong * column(share * size(conditional) / size(strong) + 1 - share)


@wrong("rescaled")
def wrong_for_half(strong, conditional, share):
    ratio = conditional.flatten(1).std(1) / strong.flatten(1).std(1)
    return strong * column(ratio) if share >= 0.5 else strong


@right("rescaled")
def by_variances(strong, conditional, share):
    ratio = (conditional.flatten(1).var(1) / strong.flatten(1).var(1)).sqrt()
    return share * column(ratio) * strong + (1 - share) * strong


@right("rescaled")
def with_numpy_sizes(strong, conditional, share):
    ratio = conditional.numpy().std(axis=(1, 2, 3)) / strong.numpy().std(axis=(1, 2, 3))
    return strong * column(torch.from_numpy(1 - share + share * ratio).float())


# ---- keep_known --------------------------------------------------------------------------------------------


@wrong("keep_known")
def mean_of_both(x, image, mask, alpha_bar, noise):
    known = alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * noise
    return mask * (known + x) / 2 + (1 - mask) * x


@wrong("keep_known")
def own_noise_from_x(x, image, mask, alpha_bar, noise):
    return mask * (alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * x) + (1 - mask) * x


@wrong("keep_known")
def first_noise_for_all(x, image, mask, alpha_bar, noise):
    known = alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * noise[:1]
    return mask * known + (1 - mask) * x


@wrong("keep_known")
def everything_noised(x, image, mask, alpha_bar, noise):
    merged = mask * image + (1 - mask) * x
    return alpha_bar**0.5 * merged + (1 - alpha_bar) ** 0.5 * noise


@wrong("keep_known")
def noise_twice(x, image, mask, alpha_bar, noise):
    known = alpha_bar**0.5 * image + 2 * (1 - alpha_bar) ** 0.5 * noise
    return mask * known + (1 - mask) * x


@right("keep_known")
def written_into_a_copy(x, image, mask, alpha_bar, noise):
    made = x.clone()
    where = mask.bool().expand_as(x)
    made[where] = (alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * noise)[where]
    return made


@right("keep_known")
def term_by_term(x, image, mask, alpha_bar, noise):
    return mask * alpha_bar**0.5 * image + mask * (1 - alpha_bar) ** 0.5 * noise + x - mask * x


# ---- sdedit_start ------------------------------------------------------------------------------------------


def noised(image, noise, left):
    return left.sqrt() * image + (1 - left).sqrt() * noise


@wrong("sdedit_start")
def rounded_up(image, noise, alpha_bar, strength):
    k = int(np.ceil(strength * (len(alpha_bar) - 1) - 1e-9))
    return noised(image, noise, alpha_bar[k]), k


@wrong("sdedit_start")
def by_the_level(image, noise, alpha_bar, strength):
    k = int((alpha_bar - (1 - strength)).abs().argmin())
    return noised(image, noise, alpha_bar[k]), k


@wrong("sdedit_start")
def step_first(image, noise, alpha_bar, strength):
    k = round(strength * (len(alpha_bar) - 1))
    return k, noised(image, noise, alpha_bar[k])


@wrong("sdedit_start")
def image_and_noise_exchanged(image, noise, alpha_bar, strength):
    k = round(strength * (len(alpha_bar) - 1))
    return noised(noise, image, alpha_bar[k]), k


@wrong("sdedit_start")
def at_least_one_step(image, noise, alpha_bar, strength):
    k = max(1, round(strength * (len(alpha_bar) - 1)))
    return noised(image, noise, alpha_bar[k]), k


@right("sdedit_start")
def a_list(image, noise, alpha_bar, strength):
    k = int(np.rint(strength * (alpha_bar.shape[0] - 1)))
    return [alpha_bar[k] ** 0.5 * image + (1 - alpha_bar[k]) ** 0.5 * noise, k]


@right("sdedit_start")
def by_lookup(image, noise, alpha_bar, strength):
    steps = alpha_bar.size(0) - 1
    k = min(range(steps + 1), key=lambda step: abs(step / steps - strength))
    alpha, sigma = alpha_bar.sqrt()[k], (1 - alpha_bar).sqrt()[k]
    return alpha * image + sigma * noise, k


# ---- diagnose_guidance -------------------------------------------------------------------------------------


def verdict(read_back, saturated, real_saturated, spread, real_spread, **change):
    found = {
        "too weak": read_back.mean() < 0.7,
        "saturated": saturated > 2 * real_saturated,
        "monotonous": bool((spread < 0.6 * real_spread).any()),
    }
    found |= change
    return next((name for name in found if found[name]), "sound")


@wrong("diagnose_guidance")
def against_the_best_class(read_back, saturated, real_saturated, spread, real_spread):
    low = bool((spread < 0.6 * spread.max()).any())
    return verdict(read_back, saturated, real_saturated, spread, real_spread, monotonous=low)


@wrong("diagnose_guidance")
def difference_of_saturation(read_back, saturated, real_saturated, spread, real_spread):
    high = saturated - real_saturated > 0.7
    return verdict(read_back, saturated, real_saturated, spread, real_spread, saturated=high)


@wrong("diagnose_guidance")
def absolute_spread(read_back, saturated, real_saturated, spread, real_spread):
    return verdict(
        read_back, saturated, real_saturated, spread, real_spread, monotonous=bool((spread < 2.5).any())
    )


@wrong("diagnose_guidance")
def always_sound(read_back, saturated, real_saturated, spread, real_spread):
    return "sound"


@wrong("diagnose_guidance")
def spread_counts_upwards(read_back, saturated, real_saturated, spread, real_spread):
    wide = bool((spread > 1.4 * real_spread).any())
    return verdict(read_back, saturated, real_saturated, spread, real_spread, monotonous=wide)


@wrong("diagnose_guidance")
def in_capitals(*measured):
    return verdict(*measured).capitalize()


@right("diagnose_guidance")
def with_other_lines(read_back, saturated, real_saturated, spread, real_spread):
    if (read_back < 0.7).float().mean() > 0.5:
        return "too weak"
    if saturated > 2.7 * real_saturated:
        return "saturated"
    return "monotonous" if float((spread / real_spread).min()) < 0.5 else "sound"


@right("diagnose_guidance")
def with_numpy(read_back, saturated, real_saturated, spread, real_spread):
    shares, own, real = (x.numpy() for x in (read_back, spread, real_spread))
    names = ["too weak", "saturated", "monotonous", "sound"]
    flags = [np.median(shares) < 0.65, saturated / real_saturated > 2.2, (own / real < 0.65).any(), True]
    return names[int(np.argmax(flags))]


@pytest.mark.parametrize(("name", "answer"), wrong, ids=[f"{n}-{a.__name__}" for n, a in wrong])
def test_wrong_answers_are_rejected(name, answer):
    for seed in range(4):
        assert diagnose(find(name), answer, [seed], seconds=60.0).outcome is not Outcome.RIGHT, seed


@pytest.mark.parametrize(("name", "answer"), right, ids=[f"{n}-{a.__name__}" for n, a in right])
def test_right_answers_are_accepted(name, answer):
    for seed in range(8):
        verdict_ = diagnose(find(name), answer, [seed], seconds=60.0)
        assert verdict_.outcome is Outcome.RIGHT, f"seed {seed}: {verdict_}"
