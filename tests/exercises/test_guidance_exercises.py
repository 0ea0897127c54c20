"""Wrong answers that the exercises on guidance do not list are rejected; further right ones pass.

Other forms of mistakes that are listed get the sentence of the listed one.
"""

import functools

import numpy as np
import pytest
import torch
from collected import Collected

from genimg_ref.exercises import find
from genimg_ref.exercises.engine import Outcome, diagnose

wrong, right = Collected(), Collected()
like = Collected()  # called with "exercise: known mistake"


def column(values):
    return values.reshape(-1, 1, 1, 1)


# ---- classifier_guided -------------------------------------------------------------------------------------


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
def squared_scale(eps, gradient, sigma, scale):
    return eps - scale**2 * column(sigma) * gradient


@like("classifier_guided: mean_sigma")
def mean_of_all_levels(eps, gradient, sigma, scale):
    return eps - scale * torch.full_like(sigma, float(sigma.mean())).view(-1, 1, 1, 1) * gradient


@like("classifier_guided: root_of_sigma")
def root_of_the_level(eps, gradient, sigma, scale):
    return eps - scale * column(sigma) ** 0.5 * gradient


@like("classifier_guided: noise_scaled_too")
def both_scaled(eps, gradient, sigma, scale):
    return scale * (eps - column(sigma) * gradient)


@right("classifier_guided")
def by_addcmul(eps, gradient, sigma, scale):
    return torch.addcmul(eps, column(sigma), gradient, value=-scale)


@right("classifier_guided")
def in_double(eps, gradient, sigma, scale):
    return (eps.double() - scale * column(sigma.double()) * gradient.double()).float()


# ---- drop_labels -------------------------------------------------------------------------------------------


@wrong("drop_labels")
def one_beyond_the_largest(labels, null, probability, rng):
    """The null label only where the last class is among these labels."""
    return torch.where(torch.rand(len(labels), generator=rng) < probability, labels.max() + 1, labels)


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


def within_the_interval(t, low, high):
    return (t >= low) & (t <= high)


def with_weight(unconditional, conditional, w):
    return unconditional + w * (conditional - unconditional)


@like("guided: scale_cut_off")
def weights_of_whole_numbers(unconditional, conditional, scale, t, low, high):
    w = torch.ones(len(t), dtype=torch.long)
    w[within_the_interval(t, low, high)] = int(scale)
    return with_weight(unconditional, conditional, column(w))


@wrong("guided")
def rounded_scale(unconditional, conditional, scale, t, low, high):
    return with_weight(unconditional, conditional, weight(float(round(scale)), t, low, high))


@wrong("guided")
def wider_interval(unconditional, conditional, scale, t, low, high):
    w = column(torch.where((t > low - 0.05) & (t < high + 0.05), scale, 1.0))
    return with_weight(unconditional, conditional, w)


@wrong("guided")
def slightly_wider_interval(unconditional, conditional, scale, t, low, high):
    return with_weight(unconditional, conditional, weight(scale, t, low - 0.02, high + 0.02))


@wrong("guided")
def narrower_interval(unconditional, conditional, scale, t, low, high):
    return with_weight(unconditional, conditional, weight(scale, t, low + 1e-3, high - 1e-3))


@like("guided: interval_ignored")
def either_end(unconditional, conditional, scale, t, low, high):
    w = column(torch.where((t >= low) | (t <= high), scale, 1.0))
    return with_weight(unconditional, conditional, w)


@like("guided: inside_for_any")
def all_if_any(unconditional, conditional, scale, t, low, high):
    w = scale if within_the_interval(t, low, high).any() else 1.0
    return with_weight(unconditional, conditional, w)


@like("guided: inside_for_all")
def none_unless_all(unconditional, conditional, scale, t, low, high):
    if (t >= low).all() and (t <= high).all():
        return with_weight(unconditional, conditional, scale)
    return conditional


@like("guided: time_of_the_first")
def one_time(unconditional, conditional, scale, t, low, high):
    return with_weight(unconditional, conditional, scale if low <= float(t[0]) <= high else 1.0)


@like("guided: scales_along_columns")
def unshaped(unconditional, conditional, scale, t, low, high):
    w = torch.where(within_the_interval(t, low, high), scale, 1.0)
    return (1 - w) * unconditional + w * conditional


@like("guided: low_left_out")
def lower_end_out(unconditional, conditional, scale, t, low, high):
    return with_weight(unconditional, conditional, column(torch.where((low < t) & (t <= high), scale, 1.0)))


@like("guided: high_left_out")
def upper_end_out(unconditional, conditional, scale, t, low, high):
    return with_weight(unconditional, conditional, column(torch.where((low <= t) & (t < high), scale, 1.0)))


@wrong("guided")
def mean_time(unconditional, conditional, scale, t, low, high):
    return unconditional + (scale if low <= t.mean() <= high else 1.0) * (conditional - unconditional)


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


@wrong("rescaled")
def never_enlarged(strong, conditional, share):
    factor = share * conditional.flatten(1).std(1) / strong.flatten(1).std(1) + 1 - share
    return strong * column(factor.clamp(max=1))


@wrong("rescaled")
def never_reduced(strong, conditional, share):
    ratio = conditional.flatten(1).std(1) / strong.flatten(1).std(1)
    return strong * column(share * ratio.clamp(min=1) + 1 - share)


@like("rescaled: ratio_cut_off")
def reduced_where_too_strong(strong, conditional, share):
    wanted, found = (x.std(dim=(1, 2, 3), keepdim=True) for x in (conditional, strong))
    mended = torch.where(found > wanted, strong * wanted / found, strong)
    return share * mended + (1 - share) * strong


@like("rescaled: without_keepdim")
def axes_lost(strong, conditional, share):
    ratio = conditional.flatten(1).std(1) / strong.flatten(1).std(1)
    return strong * (share * ratio + 1 - share)


@like("rescaled: over_the_images")
def along_the_batch(strong, conditional, share):
    def size(x):
        return ((x - x.mean(0)).square().sum(0, keepdim=True) / (len(x) - 1)).sqrt()

    return share * strong * size(conditional) / size(strong) + (1 - share) * strong


@like("rescaled: over_the_batch")
def one_ratio(strong, conditional, share):
    return strong * (share * conditional.std() / strong.std() + 1 - share)


@like("rescaled: ratio_of_the_first")
def first_ratio(strong, conditional, share):
    ratio = conditional.flatten(1).std(1) / strong.flatten(1).std(1)
    return strong * (share * ratio[0] + 1 - share)


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


@wrong("keep_known")
def x_where_the_image_is_black(x, image, mask, alpha_bar, noise):
    known = alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * noise
    return torch.where(mask.bool() & (image > -0.9), known, x)


@like("keep_known: known_where_not_zero")
def by_the_masked_image(x, image, mask, alpha_bar, noise):
    known = alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * noise
    return torch.where(mask * image != 0, known, x)


@like("keep_known: known_rest_of_the_root")
def factors_that_add_to_one(x, image, mask, alpha_bar, noise):
    return torch.where(mask > 0, torch.lerp(noise, image, alpha_bar**0.5), x)


@like("keep_known: known_noise_without_root")
def root_on_the_image(x, image, mask, alpha_bar, noise):
    return mask * (alpha_bar**0.5 * image + (1 - alpha_bar) * noise) + (1 - mask) * x


@like("keep_known: known_image_without_root")
def root_on_the_noise(x, image, mask, alpha_bar, noise):
    return mask * (alpha_bar * image + (1 - alpha_bar) ** 0.5 * noise) + (1 - mask) * x


@like("keep_known: known_with_own_noise")
def drawn_anew(x, image, mask, alpha_bar, noise):
    known = alpha_bar**0.5 * image + (1 - alpha_bar) ** 0.5 * torch.randn(x.shape)
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


@like("sdedit_start: step_rounded_up")
def rounded_up(image, noise, alpha_bar, strength):
    k = int(np.ceil(strength * (len(alpha_bar) - 1)))
    return noised(image, noise, alpha_bar[k]), k


@like("sdedit_start: nearest_level")
def by_the_level(image, noise, alpha_bar, strength):
    k = min(range(len(alpha_bar)), key=lambda step: abs(float(1 - alpha_bar[step]) - strength))
    return noised(image, noise, alpha_bar[k]), k


@like("sdedit_start: step_before_image")
def step_first(image, noise, alpha_bar, strength):
    k = round(strength * (len(alpha_bar) - 1))
    return k, noised(image, noise, alpha_bar[k])


@like("sdedit_start: without_the_step")
def image_only(image, noise, alpha_bar, strength):
    return noised(image, noise, alpha_bar[round(strength * (len(alpha_bar) - 1))])


@like("sdedit_start: past_the_end")
def by_the_length(image, noise, alpha_bar, strength):
    k = round(strength * len(alpha_bar))
    return noised(image, noise, alpha_bar[k]), k


@like("sdedit_start: start_factors_exchanged")
def image_and_noise_exchanged(image, noise, alpha_bar, strength):
    k = round(strength * (len(alpha_bar) - 1))
    return noised(noise, image, alpha_bar[k]), k


@like("sdedit_start: start_rest_of_the_root")
def factors_that_make_one(image, noise, alpha_bar, strength):
    k = round(strength * (len(alpha_bar) - 1))
    return torch.lerp(noise, image, float(alpha_bar[k]) ** 0.5), k


@like("sdedit_start: start_with_own_noise")
def start_drawn_anew(image, noise, alpha_bar, strength):
    k = round(strength * (len(alpha_bar) - 1))
    return noised(image, torch.randn(image.shape), alpha_bar[k]), k


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


def verdict(read_back, saturated, real_saturated, spread, real_spread, /, **change):
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


def with_line_for_saturation(found):
    """An answer that is right but for what it calls saturated."""

    def answer(read_back, saturated, real_saturated, spread, real_spread):
        high = found(saturated, real_saturated)
        return verdict(read_back, saturated, real_saturated, spread, real_spread, saturated=high)

    return answer


def with_line_for_variety(found):
    """An answer that is right but for what it calls monotonous."""

    def answer(read_back, saturated, real_saturated, spread, real_spread):
        low = bool(found(spread, real_spread))
        return verdict(read_back, saturated, real_saturated, spread, real_spread, monotonous=low)

    return answer


def named(name, answer):
    answer.__name__ = name
    return answer


def add(to, lines, name, found, limits):
    """Collect an answer with a line of its own for each of the limits."""
    for limit in limits:
        to(named(f"{name}_{limit}", lines(functools.partial(found, limit=limit))))


def large(own, real, limit):
    return own > limit


def larger(own, real, limit):
    return own - real > limit


def times(own, real, limit):
    return own > limit * real


def narrow(own, real, limit):
    return (own < limit).any()


def narrower(own, real, limit):
    return (real - own > limit).any()


def part(own, real, limit):
    return (own < limit * real).any()


of_pixels, of_spreads = with_line_for_saturation, with_line_for_variety
add(right("diagnose_guidance"), of_pixels, "saturated_times", times, (1.5, 2, 2.5, 3))
add(wrong("diagnose_guidance"), of_pixels, "saturated_times", times, (0.5, 20))
add(like("diagnose_guidance: slightest_saturation"), of_pixels, "saturated_times", times, (1, 1.3))
add(like("diagnose_guidance: gross_saturation"), of_pixels, "saturated_times", times, (3.6, 4, 6))
add(wrong("diagnose_guidance"), of_pixels, "saturated_above", large, (1e-4, 0.01, 0.5, 0.8))
add(like("diagnose_guidance: absolute_saturation"), of_pixels, "saturated_above", large, (0.05, 0.15, 0.2))
add(wrong("diagnose_guidance"), of_pixels, "saturated_more_by", larger, (0.001, 0.5, 0.7))
add(like("diagnose_guidance: difference_of_shares"), of_pixels, "saturated_more_by", larger, (0.01, 0.05))
add(like("diagnose_guidance: large_shares_only"), of_pixels, "saturated_more_by", larger, (0.1, 0.2, 0.3))
add(right("diagnose_guidance"), of_spreads, "spread_part", part, (0.5, 0.55, 0.6))
add(like("diagnose_guidance: nearly_all_lost"), of_spreads, "spread_part", part, (0.3, 0.4))
add(like("diagnose_guidance: slightest_loss"), of_spreads, "spread_part", part, (0.75, 0.9))
add(wrong("diagnose_guidance"), of_spreads, "spread_below", narrow, (0.05, 0.3, 10))
add(like("diagnose_guidance: absolute_spread"), of_spreads, "spread_below", narrow, (2.5, 4))
add(wrong("diagnose_guidance"), of_spreads, "spread_less_by", narrower, (0.1, 10))
add(like("diagnose_guidance: difference_of_spreads"), of_spreads, "spread_less_by", narrower, (1, 2, 3, 4))


def first(own, real, limit):
    return own[0] < limit * real[0]


def several(own, real, limit):
    return (own < limit * real).sum() >= 2


def most(own, real, limit):
    return (own < limit * real).sum() > len(own) / 2


def mean_ratio(own, real, limit):
    return (own / real).mean() < limit


def ratio_of_means(own, real, limit):
    return own.mean() < limit * real.mean()


def median_ratio(own, real, limit):
    return (own / real).median() < limit


add(like("diagnose_guidance: first_class_alone"), of_spreads, "first", first, (0.5, 0.6))
add(like("diagnose_guidance: more_than_one_class"), of_spreads, "several", several, (0.5, 0.6))
for found in (most, mean_ratio, ratio_of_means, median_ratio):
    add(like("diagnose_guidance: mean_spread"), of_spreads, found.__name__, found, (0.5, 0.6))


@like("diagnose_guidance: first_class_alone")
def loop_that_ends_at_once(read_back, saturated, real_saturated, spread, real_spread):
    if read_back.mean() < 0.7:
        return "too weak"
    if saturated > 2 * real_saturated:
        return "saturated"
    for own, real in zip(spread, real_spread, strict=True):
        if own < 0.5 * real:
            return "monotonous"
        return "sound"


@like("diagnose_guidance: ten_classes")
def loop_over_ten(read_back, saturated, real_saturated, spread, real_spread):
    if read_back.mean() < 0.7:
        return "too weak"
    if saturated > 2 * real_saturated:
        return "saturated"
    for k in range(10):
        if spread[k] < 0.6 * real_spread[k]:
            return "monotonous"
    return "sound"


@wrong("diagnose_guidance")
def first_ten(read_back, saturated, real_saturated, spread, real_spread):
    return verdict(read_back, saturated, real_saturated, spread[:10], real_spread[:10])


@wrong("diagnose_guidance")
def mean_of_ten(read_back, saturated, real_saturated, spread, real_spread):
    return verdict(read_back.sum() / 10, saturated, real_saturated, spread, real_spread)


@wrong("diagnose_guidance")
def loop_with_variety_first(read_back, saturated, real_saturated, spread, real_spread):
    for k in range(len(spread)):
        if spread[k] < 0.6 * real_spread[k]:
            return "monotonous"
        if read_back[k] < 0.7:
            return "too weak"
    return "saturated" if saturated > 2 * real_saturated else "sound"


@like("diagnose_guidance: monotony_before_saturation")
def loop_before_saturation(read_back, saturated, real_saturated, spread, real_spread):
    for k in range(len(spread)):
        if read_back[k] < 0.7:
            return "too weak"
        if spread[k] < 0.6 * real_spread[k]:
            return "monotonous"
    return "saturated" if saturated > 2 * real_saturated else "sound"


@like("diagnose_guidance: with_an_underscore")
def in_one_word(*measured):
    return "too_weak" if verdict(*measured) == "too weak" else verdict(*measured)


@wrong("diagnose_guidance")
def only_sound_in_capitals(*measured):
    return verdict(*measured).replace("sound", "Sound")


@wrong("diagnose_guidance")
def least_against_least(read_back, saturated, real_saturated, spread, real_spread):
    low = bool(spread.min() < 0.6 * real_spread.min())
    return verdict(read_back, saturated, real_saturated, spread, real_spread, monotonous=low)


def with_line_for_weakness(found):
    """An answer that is right but for what it calls too weak."""

    def answer(read_back, *measured):
        return verdict(torch.tensor(0.0 if found(read_back) else 1.0), *measured)

    return answer


def rare_on_average(shares, limit):
    return shares.mean() < limit


def rare_somewhere(shares, limit):
    return (shares < limit).any()


for found in (rare_on_average, rare_somewhere):
    found_in = with_line_for_weakness, found.__name__, found
    add(like("diagnose_guidance: next_to_nothing"), *found_in, (0.15, 0.25))
    add(like("diagnose_guidance: chance_only"), *found_in, (0.4, 0.5))
    add(right("diagnose_guidance"), *found_in, (0.6, 0.7, 0.8))
    add(like("diagnose_guidance: weakness_from_ninety"), *found_in, (0.86, 0.9))


# as the text promises, all classes lie on one side of both lines
@right("diagnose_guidance")
def loop_over_the_classes(read_back, saturated, real_saturated, spread, real_spread):
    for k in range(len(spread)):
        if read_back[k] < 0.7:
            return "too weak"
        if saturated > 2 * real_saturated:
            return "saturated"
        if spread[k] < 0.6 * real_spread[k]:
            return "monotonous"
    return "sound"


@right("diagnose_guidance")
def by_the_best_read_class(read_back, *measured):
    return verdict(read_back.max(), *measured)


@right("diagnose_guidance")
def every_class_rare(read_back, *measured):
    return with_line_for_weakness(lambda shares: (shares < 0.7).all())(read_back, *measured)


@wrong("diagnose_guidance")
def always_sound(read_back, saturated, real_saturated, spread, real_spread):
    return "sound"


@wrong("diagnose_guidance")
def spread_counts_upwards(read_back, saturated, real_saturated, spread, real_spread):
    wide = bool((spread > 1.4 * real_spread).any())
    return verdict(read_back, saturated, real_saturated, spread, real_spread, monotonous=wide)


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
    flags = [np.median(shares) < 0.65, saturated / real_saturated > 2.2, (own / real < 0.55).any(), True]
    return names[int(np.argmax(flags))]


@pytest.mark.parametrize(("name", "answer"), wrong, ids=[f"{n}-{a.__name__}" for n, a in wrong])
def test_wrong_answers_are_rejected(name, answer):
    for seed in range(4):
        outcome = diagnose(find(name), answer, [seed], seconds=60.0).outcome
        assert outcome not in (Outcome.RIGHT, Outcome.RAISED), f"seed {seed}: {outcome}"


@pytest.mark.parametrize(("name", "answer"), like, ids=[f"{n}-{a.__name__}" for n, a in like])
def test_other_forms_of_known_mistakes_get_the_same_sentence(name, answer):
    exercise, _, known = name.partition(": ")
    hints = {mistake.name: mistake.hint for mistake in find(exercise).mistakes}
    for seed in range(2):
        assert diagnose(find(exercise), answer, [seed], seconds=60.0).hint == hints[known], seed


@pytest.mark.parametrize(("name", "answer"), right, ids=[f"{n}-{a.__name__}" for n, a in right])
def test_right_answers_are_accepted(name, answer):
    for seed in range(8):
        verdict_ = diagnose(find(name), answer, [seed], seconds=60.0)
        assert verdict_.outcome is Outcome.RIGHT, f"seed {seed}: {verdict_}"
