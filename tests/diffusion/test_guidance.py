"""Guidance at scales where it is known, in its interval, rescaled; and by a classifier, by Bayes' rule."""

import pytest
import torch
from torch.testing import assert_close

from genimg_ref.diffusion.guidance import classifier_free, classifier_guided, guide, rescaled, with_condition
from genimg_ref.diffusion.sample import ddim, last
from genimg_ref.diffusion.schedule import vp_cosine

D = torch.float64
LABELS = torch.tensor([0, 1, 1, 0, 1])
NULL = 2  # the mixture has classes 0 and 1
T = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=D)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=D)


class Counted:
    """A model that counts the rows it was asked about."""

    def __init__(self, model):
        self.model, self.rows = model, []

    def __call__(self, x, *rest):
        self.rows.append(len(x))
        return self.model(x, *rest)


@pytest.mark.parametrize("kind", ["eps", "x0", "v", "score"])
def test_scales_0_and_1_are_the_two_models(mixture, kind):
    model, x = mixture.model(vp_cosine, kind), normal(5, 2)
    assert_close(classifier_free(model, LABELS, NULL, 1.0)(x, T), model(x, T, LABELS))
    assert_close(classifier_free(model, LABELS, NULL, 0.0)(x, T), model(x, T))
    assert_close(with_condition(model, LABELS)(x, T), model(x, T, LABELS))


def test_scale_3_goes_on_in_the_same_direction(mixture):
    model, x = mixture.model(vp_cosine), normal(5, 2)
    plain, conditional = model(x, T), model(x, T, LABELS)
    found = classifier_free(model, LABELS, NULL, 3.0)(x, T)
    assert_close(found, 3 * conditional - 2 * plain)
    assert_close(guide(plain, conditional, 3.0), found)
    assert (found - conditional).abs().max() > 0.01


@pytest.mark.parametrize("kind", ["x0", "v", "score"])
def test_the_kind_does_not_matter(mixture, kind):
    """Guided scores of a model of any kind are the guided score."""
    x, times = normal(5, 2), torch.linspace(0.9, 0.1, 5, dtype=D)
    ends = [
        last(
            ddim(classifier_free(mixture.model(vp_cosine, k), LABELS, NULL, 2.5), x, times, vp_cosine, kind=k)
        )
        for k in ("eps", kind)
    ]
    assert_close(*ends)


def test_negative_conditions_replace_the_missing_one(mixture):
    model, x = mixture.model(vp_cosine), normal(5, 2)
    towards, away = model(x, T, LABELS), model(x, T, 1 - LABELS)
    expected = away + 2.0 * (towards - away)
    assert_close(classifier_free(model, LABELS, 1 - LABELS, 2.0)(x, T), expected)
    assert_close(classifier_free(model, torch.ones(5).long(), 0, 2.0)(x, T)[1], expected[1])


def test_conditions_of_any_shape():
    """Embedded text, ``(batch, tokens, width)``, against one empty text for all."""

    def model(x, t, text):
        return x * 0 + text.sum((1, 2))[:, None]

    text, empty = normal(5, 3, 4), normal(3, 4, seed=1)
    found = classifier_free(model, text, empty, 2.0)(normal(5, 2), T)
    assert_close(found[:, 0], 2 * text.sum((1, 2)) - empty.sum())


def test_guidance_stays_in_its_interval(mixture):
    model, x = Counted(mixture.model(vp_cosine)), normal(5, 2)
    guided = classifier_free(model, LABELS, NULL, 3.0, interval=(0.3, 0.7))
    found = guided(x, T)
    everywhere, nowhere = (classifier_free(model, LABELS, NULL, w)(x, T) for w in (3.0, 1.0))
    assert_close(found[1:4], everywhere[1:4])
    assert_close(found[[0, 4]], nowhere[[0, 4]])
    model.rows.clear()
    guided(x, T * 0 + 0.9)
    guided(x, T * 0 + 0.7)
    assert model.rows == [5, 10]


def test_without_guidance_the_model_is_asked_once(mixture):
    model = Counted(mixture.model(vp_cosine))
    classifier_free(model, LABELS, NULL, 1.0)(normal(5, 2), T)
    assert model.rows == [5]


def test_rescaling_restores_the_standard_deviation():
    conditional, unconditional = normal(3, 2, 4, 5), normal(3, 2, 4, 5, seed=1)
    guided = guide(unconditional, conditional, 5.0)
    assert (guided.std((1, 2, 3)) > 2 * conditional.std((1, 2, 3))).all()
    assert_close(rescaled(guided, conditional, 1.0).std((1, 2, 3)), conditional.std((1, 2, 3)))
    assert_close(rescaled(guided, conditional, 0.0), guided)
    half = rescaled(guided, conditional, 0.5)
    assert_close(half, 0.5 * (guided + rescaled(guided, conditional, 1.0)))


def test_a_guided_model_is_rescaled():
    conditional, unconditional = normal(3, 2, 4, 5), normal(3, 2, 4, 5, seed=1)

    def model(x, t, labels):
        return torch.where(
            labels.view(-1, 1, 1, 1) == 1, conditional.repeat(2, 1, 1, 1), unconditional.repeat(2, 1, 1, 1)
        )

    found = classifier_free(model, torch.ones(3).long(), 0, 5.0, rescale=0.7)(normal(3, 2, 4, 5), T[:3])
    assert_close(found, rescaled(guide(unconditional, conditional, 5.0), conditional, 0.7))


def log_prob_of(mixture, labels):
    """The perfect classifier of noisy points: Bayes' rule with the mixture's own densities."""

    def log_prob(x, t):
        level = vp_cosine(t)
        prior = (mixture.labels == labels[:, None]).double() @ mixture.weights / mixture.weights.sum()
        return mixture.log_prob(x, level, labels) - mixture.log_prob(x, level) + prior.log()

    return log_prob


@pytest.mark.parametrize("kind", ["eps", "x0", "v", "score"])
def test_a_perfect_classifier_makes_the_conditional_model(mixture, kind):
    model, x, log_prob = mixture.model(vp_cosine, kind), normal(5, 2), log_prob_of(mixture, LABELS)
    with torch.no_grad():  # as in a sampler
        found = classifier_guided(model, log_prob, vp_cosine, 1.0, kind)(x, T)
        assert_close(found, model(x, T, LABELS))
        assert_close(classifier_guided(model, log_prob, vp_cosine, 0.0, kind)(x, T), model(x, T))
        free = classifier_free(model, LABELS, NULL, 4.0)(x, T)
        assert_close(classifier_guided(model, log_prob, vp_cosine, 4.0, kind)(x, T), free)
    assert not found.requires_grad


def test_probabilities_of_the_perfect_classifier_add_up(mixture):
    x = normal(5, 2)
    both = [log_prob_of(mixture, torch.full((5,), k))(x, T).exp() for k in (0, 1)]
    assert_close(sum(both), torch.ones(5, dtype=D))


def test_more_guidance_more_agreement(mixture):
    """The classifier's mean log probability of 400 samples rises with the scale, and their spread falls."""
    labels, x = torch.ones(400, dtype=torch.long), normal(400, 2)
    model, times = mixture.model(vp_cosine), torch.linspace(0.98, 0.0, 31, dtype=D)
    log_prob = log_prob_of(mixture, labels)
    sure, spread = [], []
    for scale in (0.0, 1.0, 4.0):
        drawn = last(ddim(classifier_free(model, labels, NULL, scale), x, times, vp_cosine))
        sure.append(log_prob(drawn, torch.full((400,), 0.02, dtype=D)).mean().item())
        spread.append(drawn.T.cov().logdet().item())
    assert sure[0] < sure[1] - 0.1 and sure[1] < sure[2] - 0.01
    assert spread[2] < spread[1] - 0.3


def test_bad_input_is_named(mixture):
    model = mixture.model(vp_cosine)
    with pytest.raises(ValueError, match=r"rescale must lie in \[0, 1\]; got 1.5"):
        classifier_free(model, LABELS, NULL, 2.0, rescale=1.5)
    with pytest.raises(
        ValueError, match=r"interval must be the lower time, then the upper; got \(0.7, 0.3\)"
    ):
        classifier_free(model, LABELS, NULL, 2.0, interval=(0.7, 0.3))
