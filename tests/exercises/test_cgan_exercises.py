"""Wrong answers that the exercises on conditional GANs do not list are rejected; further right ones pass."""

import pytest
import torch
import torch.nn.functional as F
from collected import Collected
from torch import nn

from genimg_ref.exercises import find
from genimg_ref.exercises.cgan import Judge, Normed
from genimg_ref.exercises.engine import Outcome, diagnose

wrong, right = Collected(), Collected()


# ---- with_label_maps ---------------------------------------------------------------------------------------


@wrong("with_label_maps")
def columns_for_classes(images, labels, classes):
    maps = images.new_zeros(len(images), classes, *images.shape[2:])
    for i, label in enumerate(labels.tolist()):
        maps[i, :, :, label % images.shape[3]] = 1
    return torch.cat([images, maps], dim=1)


@wrong("with_label_maps")
def maps_by_row(images, labels, classes):
    maps = F.one_hot(labels, classes).to(images)[:, :, None, None].expand(-1, -1, *images.shape[2:]).clone()
    maps[:, :, 0] = 0
    return torch.cat([images, maps], dim=1)


@wrong("with_label_maps")
def double_precision(images, labels, classes):
    maps = F.one_hot(labels, classes).double()[:, :, None, None].expand(-1, -1, *images.shape[2:])
    return torch.cat([images.double(), maps], dim=1)


@wrong("with_label_maps")
def labels_multiplied_in(images, labels, classes):
    maps = F.one_hot(labels, classes).to(images)[:, :, None, None] * images[:, :1]
    return torch.cat([images, maps], dim=1)


@right("with_label_maps")
def scattered(images, labels, classes):
    maps = images.new_zeros(len(images), classes, *images.shape[2:])
    index = labels.view(-1, 1, 1, 1).expand(-1, 1, *images.shape[2:])
    return torch.cat([images, maps.scatter(1, index, 1.0)], dim=1)


# ---- conditional_discriminator_step ------------------------------------------------------------------------


def pair(x, y, classes):
    return torch.cat([x, F.one_hot(y, classes).float()], dim=1)


def step(generator, discriminator, optimiser, real, labels, z, asked, classes, value):
    fake = generator(pair(z, asked, classes)).detach()
    loss = value(discriminator(pair(real, labels, classes)), discriminator(pair(fake, asked, classes)))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


@wrong("conditional_discriminator_step")
def least_squares(*arguments):
    return step(*arguments, value=lambda r, f: (r - 1).square().mean() + f.square().mean())


@wrong("conditional_discriminator_step")
def hinge(*arguments):
    return step(*arguments, value=lambda r, f: (1 - r).relu().mean() + (1 + f).relu().mean())


@wrong("conditional_discriminator_step")
def real_half_only(*arguments):
    return step(*arguments, value=lambda r, f: F.softplus(-r).mean())


@wrong("conditional_discriminator_step")
def smoothed(*arguments):
    bce = F.binary_cross_entropy_with_logits
    return step(*arguments, value=lambda r, f: bce(r, torch.full_like(r, 0.9)) + bce(f, torch.zeros_like(f)))


@wrong("conditional_discriminator_step")
def two_steps(*arguments):
    step(*arguments, value=lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean())
    return step(*arguments, value=lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean())


@wrong("conditional_discriminator_step")
def asked_moved_on(generator, discriminator, optimiser, real, labels, z, asked, classes):
    nxt = (asked + 1) % classes
    both = generator, discriminator, optimiser, real, labels, z, nxt, classes
    return step(*both, value=lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean())


# ---- ConditionalDiscriminator ------------------------------------------------------------------------------


@wrong("ConditionalDiscriminator")
def scaled_map(height, width, classes, channels):
    return Judge(height, width, classes, channels, join=lambda x, label: torch.cat([x, 0.5 * label], dim=1))


@wrong("ConditionalDiscriminator")
def tanh_of_map(height, width, classes, channels):
    return Judge(height, width, classes, channels, join=lambda x, label: torch.cat([x, label.tanh()], dim=1))


@wrong("ConditionalDiscriminator")
def mean_logit(height, width, classes, channels):
    return Judge(height, width, classes, channels, ending=lambda logits: logits.mean().expand(len(logits)))


@wrong("ConditionalDiscriminator")
def mirrored_map(height, width, classes, channels):
    return Judge(height, width, classes, channels, join=lambda x, label: torch.cat([x, label.flip(3)], dim=1))


@wrong("ConditionalDiscriminator")
def statistics_of_the_batch_at_hand(height, width, classes, channels):
    model = Judge(height, width, classes, channels)
    model.layers[3] = nn.BatchNorm2d(2 * channels, track_running_stats=False)
    return model


@right("ConditionalDiscriminator")
def flattened_ending(height, width, classes, channels):
    return Judge(height, width, classes, channels, ending=lambda logits: logits.flatten())


# ---- ConditionalBatchNorm2d --------------------------------------------------------------------------------


@wrong("ConditionalBatchNorm2d")
def gain_shared_over_positions_of_the_batch(channels, classes):
    return Normed(channels, classes, apply=lambda x, gain, shift: x * gain.mean(dim=0) + shift)


@wrong("ConditionalBatchNorm2d")
def exponential_gain(channels, classes):
    return Normed(channels, classes, apply=lambda x, gain, shift: x * (gain - 1).exp() + shift)


@wrong("ConditionalBatchNorm2d")
def biased_epsilon(channels, classes):
    return Normed(channels, classes, norm=nn.BatchNorm2d(channels, affine=False, eps=0.1))


@wrong("ConditionalBatchNorm2d")
def sorted_labels(channels, classes):
    return Normed(channels, classes, choose=lambda labels: labels.sort().values)


@wrong("ConditionalBatchNorm2d")
def slow_statistics(channels, classes):
    return Normed(channels, classes, norm=nn.BatchNorm2d(channels, affine=False, momentum=0.01))


@wrong("ConditionalBatchNorm2d")
def averaged_over_all_batches(channels, classes):
    return Normed(channels, classes, norm=nn.BatchNorm2d(channels, affine=False, momentum=None))


@wrong("ConditionalBatchNorm2d")
class MeanAlone(Normed):
    """The running mean moves, the running variance does not."""

    def forward(self, x, labels):
        out = super().forward(x, labels)
        self.norm.running_var.fill_(1.0)
        return out


@right("ConditionalBatchNorm2d")
class ByFunction(Normed):
    def __init__(self, channels, classes):
        super().__init__(channels, classes)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("variance", torch.ones(channels))

    def forward(self, x, labels):
        normed = F.batch_norm(x, self.mean, self.variance, training=self.training)
        return normed * self.gain(labels)[:, :, None, None] + self.shift(labels)[:, :, None, None]


@right("ConditionalBatchNorm2d")
def by_addcmul(channels, classes):
    return Normed(channels, classes, apply=lambda x, gain, shift: torch.addcmul(shift, x, gain))


# ---- projection_logits -------------------------------------------------------------------------------------


@wrong("projection_logits")
def labels_index_features(features, labels, embedding, weight, bias):
    rows = labels % len(features)
    return features @ weight + bias + (embedding[labels] * features[rows]).sum(dim=1)


@wrong("projection_logits")
def bias_by_label(features, labels, embedding, weight, bias):
    return features @ weight + bias * (1 + labels) + (embedding[labels] * features).sum(dim=1)


@wrong("projection_logits")
def distance(features, labels, embedding, weight, bias):
    return features @ weight + bias - (embedding[labels] - features).square().sum(dim=1)


@wrong("projection_logits")
def embedding_detached(features, labels, embedding, weight, bias):
    return features @ weight + bias + (embedding.detach()[labels] * features).sum(dim=1)


# ---- auxiliary_losses --------------------------------------------------------------------------------------


@wrong("auxiliary_losses")
def labels_of_the_other(real_logits, fake_logits, real_classes, fake_classes, labels, asked):
    fold = torch.arange(len(fake_classes)) % len(labels)
    read = F.cross_entropy(fake_classes, labels[fold])
    game = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    d = game + F.cross_entropy(real_classes, labels) + read
    return torch.stack([d, F.softplus(-fake_logits).mean() + read])


@wrong("auxiliary_losses")
def pooled_class_term(real_logits, fake_logits, real_classes, fake_classes, labels, asked):
    both = F.cross_entropy(torch.cat([real_classes, fake_classes]), torch.cat([labels, asked]))
    game = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    return torch.stack(
        [game + 2 * both, F.softplus(-fake_logits).mean() + F.cross_entropy(fake_classes, asked)]
    )


@wrong("auxiliary_losses")
def fakes_detached(real_logits, fake_logits, real_classes, fake_classes, labels, asked):
    read = F.cross_entropy(fake_classes.detach(), asked)
    game = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    d = game + F.cross_entropy(real_classes, labels) + read
    return torch.stack([d, F.softplus(-fake_logits).mean() + read])


@wrong("auxiliary_losses")
def loss_of_the_discriminator_detached(real_logits, fake_logits, real_classes, fake_classes, labels, asked):
    read = F.cross_entropy(fake_classes, asked)
    d = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    d = d + F.cross_entropy(real_classes, labels) + read
    return torch.stack([d.detach(), F.softplus(-fake_logits).mean() + read])


# ---- read_back ---------------------------------------------------------------------------------------------


@wrong("read_back")
def pairs_in_order(predicted, asked, classes):
    hits = (predicted.sort().values == asked.sort().values).float()
    return torch.stack([hits[asked.sort().values == k].mean() for k in range(classes)])


@wrong("read_back")
def intersection_over_union(predicted, asked, classes):
    hits = asked[predicted == asked].bincount(minlength=classes)
    return hits / (asked.bincount(minlength=classes) + predicted.bincount(minlength=classes) - hits)


@wrong("read_back")
def double_values(predicted, asked, classes):
    return torch.stack([(predicted[asked == k] == k).double().mean() for k in range(classes)])


# ---- diagnose_condition ------------------------------------------------------------------------------------


@wrong("diagnose_condition")
def always_obeyed(confusion, spread, real_spread):
    return "obeyed"


@wrong("diagnose_condition")
def column_shares(confusion, spread, real_spread):
    shares = confusion / confusion.sum(dim=0, keepdim=True).clamp(min=1)
    if (shares - shares.mean(dim=1, keepdim=True)).abs().max() < 0.1:
        return "ignored"
    if (shares.diagonal() < 0.5).any():
        return "mixed up"
    return "collapsed" if (spread < 0.3 * real_spread).any() else "obeyed"


@wrong("diagnose_condition")
def ignored_if_all_favourites_agree(confusion, spread, real_spread):
    shares = confusion / confusion.sum(dim=1, keepdim=True)
    favourites = shares.argmax(dim=1)
    if (favourites == favourites[0]).all():
        return "ignored"
    if (shares.diagonal() < 0.5).any():
        return "mixed up"
    return "collapsed" if (spread < 0.3 * real_spread).any() else "obeyed"


def by_shares(confusion, spread, real_spread, mixed=None, flat=None):
    shares = confusion / confusion.sum(dim=1, keepdim=True)
    if (shares - shares.mean(dim=0)).abs().max() < 0.1:
        return "ignored"
    if mixed(shares) if mixed else (shares.diagonal() < 0.5).any():
        return "mixed up"
    return "collapsed" if flat(spread, real_spread) else "obeyed"


@wrong("diagnose_condition")
def every_class_has_to_be_mixed_up(*arguments):
    return by_shares(
        *arguments,
        mixed=lambda s: (s.diagonal() < 0.5).all(),
        flat=lambda own, real: (own < 0.3 * real).any(),
    )


@wrong("diagnose_condition")
def spread_against_its_own_mean(*arguments):
    return by_shares(*arguments, flat=lambda own, real: (own < 0.3 * own.mean()).any())


@wrong("diagnose_condition")
def every_class_has_to_be_flat(*arguments):
    return by_shares(*arguments, flat=lambda own, real: (own < 0.3 * real).all())


# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "answer"), wrong, ids=[f"{n}-{a.__name__}" for n, a in wrong])
def test_further_wrong_answers_are_rejected(name, answer):
    for seed in range(20):
        verdict = diagnose(find(name), answer, [seed], seconds=60.0)
        assert verdict.outcome is not Outcome.RIGHT, f"seed {seed}"


@pytest.mark.parametrize(("name", "answer"), right, ids=[f"{n}-{a.__name__}" for n, a in right])
def test_further_right_answers_are_accepted(name, answer):
    verdict = diagnose(find(name), answer, range(20), seconds=60.0)
    assert verdict.outcome is Outcome.RIGHT, str(verdict)


def test_every_exercise_has_further_wrong_answers():
    counts = {name: sum(name == n for n, _ in wrong) for name, _ in wrong}
    assert len(counts) == 8 and min(counts.values()) >= 3
