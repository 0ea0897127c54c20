"""Captions: tokens and back, the encoder against torch's transformer, and the empty caption."""

import jaxtyping
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from genimg_ref.data import shapes
from genimg_ref.diffusion.text import LENGTH, WORDS, CaptionEncoder, tokenise, untokenise
from genimg_ref.diffusion.unet import UNet


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small(seed=0, **settings):
    encoder = CaptionEncoder(**{"dim": 10, "width": 8, "heads": 2, "rng": seeded(seed)} | settings).double()
    with torch.no_grad():
        for weight in encoder.parameters():
            if weight.ndim == 1:
                weight.add_(0.1 * torch.randn(weight.shape, generator=seeded(1), dtype=torch.float64))
    return encoder


CAPTIONS = ["a small red circle at the top left on a plain background", "a large blue star", ""]


def test_tokens_by_hand():
    tokens = tokenise(["Red circle", ""])
    assert tokens.shape == (2, LENGTH) and tokens.dtype == torch.int64
    assert tokens[0].tolist() == [WORDS.index("red") + 1, WORDS.index("circle") + 1] + [0] * 10
    assert not tokens[1].any()


def test_every_caption_comes_back():
    captions = shapes.captions(shapes.combinations())
    tokens = tokenise(captions)
    assert untokenise(tokens) == captions
    assert len(tokens.unique(dim=0)) == len(captions) == 3024
    assert (tokens != 0).sum(1).max() == LENGTH
    assert set(tokens.unique().tolist()) >= set(range(1, len(WORDS) + 1)) - {WORDS.index("an") + 1}


def test_words_are_told_apart():
    assert len(set(WORDS)) == len(WORDS)
    assert untokenise(torch.arange(1, len(WORDS) + 1)[:, None]) == list(WORDS)


def test_the_encoder_is_a_transformer_of_torch():
    ours = small(layers=2)
    layer = nn.TransformerEncoderLayer(
        8, 2, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    theirs = nn.TransformerEncoder(layer, 2, ours.norm, enable_nested_tensor=False).double()
    for mine, block in zip(ours.blocks, theirs.layers, strict=True):
        block.norm1, block.norm2 = mine.norm_attention, mine.norm_layer
        block.linear1, block.linear2 = mine.layer[0], mine.layer[2]
        block.self_attn.in_proj_weight = mine.attention.queries_keys_values.weight
        block.self_attn.in_proj_bias = mine.attention.queries_keys_values.bias
        block.self_attn.out_proj = mine.attention.out
    tokens = tokenise(CAPTIONS)
    x = ours.token(tokens) + ours.place[1:]
    x = torch.cat([ours.place[:1].expand(3, 1, 8), x], dim=1)
    padded = torch.cat([torch.zeros(3, 1), tokens == 0], dim=1).bool()
    assert_close(ours(tokens), ours.head(theirs(x, src_key_padding_mask=padded)[:, 0]))


def test_padding_is_not_seen():
    """Neither what stands for it nor how much there is."""
    encoder = small()
    tokens = tokenise(CAPTIONS)
    before = encoder(tokens)
    with torch.no_grad():
        encoder.token.weight[0] += 1.0
        encoder.place[6:] += 1.0
    after = encoder(tokens)
    assert torch.equal(before[1:], after[1:])
    assert not torch.equal(before[0], after[0])


def test_words_and_their_order_matter():
    encoder = small()
    vectors = encoder(tokenise(["red circle", "circle red", "blue circle", "red circle circle", "red", ""]))
    assert torch.cdist(vectors, vectors).add(torch.eye(6)).min() > 1e-3


def test_captions_of_a_batch_do_not_meet():
    encoder, tokens = small(), tokenise(CAPTIONS)
    together = encoder(tokens)
    for i in range(3):
        assert_close(together[i : i + 1], encoder(tokens[i : i + 1]))


def test_gradients_reach_every_weight():
    encoder = small()
    encoder(tokenise([*CAPTIONS, *WORDS])).square().sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad.any(), name
    assert encoder.token.weight.grad[1:].any(1).all()
    assert not encoder.token.weight.grad[0].any()


def test_initial_weights_follow_their_generator_alone():
    tokens = tokenise(CAPTIONS)
    first, second, other = (CaptionEncoder(rng=seeded(seed))(tokens) for seed in (0, 0, 1))
    assert torch.equal(first, second) and not torch.allclose(first, other, atol=0.1)
    assert first.shape == (3, 128) and 0.3 < first.std() < 3


def test_a_u_net_takes_it_as_its_conditioner():
    model = UNet(3, (16, 16), embedding=10, conditioner=small(), rng=seeded()).double()
    with torch.no_grad():
        for weight in model.parameters():
            if not weight.any():
                weight.add_(0.1 * torch.randn(weight.shape, generator=seeded(1), dtype=torch.float64))
    x = torch.randn(3, 3, 16, 16, generator=seeded(), dtype=torch.float64)
    t = torch.full((3,), 0.5, dtype=torch.float64)
    told, untold = model(x, t, tokenise(CAPTIONS)), model(x, t)
    assert_close(told[2], untold[2])
    assert (told[:2] - untold[:2]).abs().amax((1, 2, 3)).min() > 1e-3
    told.sum().backward()
    assert model.conditioner.token.weight.grad[tokenise(["star"])[0, 0]].any()


def test_odd_input_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match="captions must be a list of captions; got the string 'red circle'"):
        tokenise("red circle")
    with pytest.raises(ValueError, match=r"captions must be made of circle, .*; got 'pink' in 'a pink star'"):
        tokenise(["a red star", "a pink star"])
    with pytest.raises(ValueError, match="captions must have at most 12 words; got 13"):
        tokenise(["red " * 13])
    encoder = small()
    with pytest.raises(
        ValueError,
        match=r"tokens must be whole numbers of shape \(batch, 12\); got torch.int64 of shape \(2, 5\)",
    ):
        encoder(torch.zeros(2, 5, dtype=torch.long))
    with pytest.raises(
        ValueError, match=r"tokens must be whole numbers .*; got torch.float32 of shape \(2, 12\)"
    ):
        encoder(torch.zeros(2, 12))
    with pytest.raises(ValueError, match=rf"tokens must lie in 0 \.\.\. {len(WORDS)}; got -1"):
        encoder(torch.full((1, 12), -1))
    with pytest.raises(ValueError, match="heads must be 1 or more and divide width = 64; got 5"):
        CaptionEncoder(heads=5)
