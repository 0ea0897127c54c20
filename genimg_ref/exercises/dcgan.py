"""The exercises of the chapter dcgan."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genimg_ref.exercises.compare import Response
from genimg_ref.exercises.engine import Case, Exercise, call, generator, module, net
from genimg_ref.gan import dcgan
from genimg_ref.nn import interpolate

Rng = np.random.Generator


def normal(rng: Rng, *shape: int, mean: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Float32 numbers from a normal distribution."""
    return rng.normal(mean, scale, size=shape).astype("float32")


# --- conv_transpose_output_size -----------------------------------------------------------------------


def sizes(rng: Rng) -> Iterator[Case]:
    yield call("the projection of a DCGAN: one pixel, kernel 4", size=1, kernel=4, stride=1, padding=0)
    yield call("kernel 4, stride 2, padding 1", size=7, kernel=4, stride=2, padding=1)
    yield call("a stride larger than the kernel", size=5, kernel=2, stride=3, padding=0)
    for _ in range(4):
        kernel = int(rng.integers(3, 8))
        stride, padding = int(rng.integers(2, 5)), int(rng.integers(1, kernel // 2 + 1))
        size = int(rng.integers(4, 20))
        label = f"size {size}, kernel {kernel}, stride {stride}, padding {padding}"
        yield call(label, size=size, kernel=kernel, stride=stride, padding=padding)


conv_transpose_output_size = Exercise(
    points=1, minutes=5, reference=dcgan.conv_transpose_output_size, cases=sizes
)


@conv_transpose_output_size.mistake(
    "This is the output size of an ordinary convolution, which makes images smaller. Here the sizes are "
    "the other way round: look for the size that such a convolution would turn into `size`."
)
def forward_size(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


@conv_transpose_output_size.mistake(
    "Too large by one stride. Between `size` stamps there are not `size` gaps: draw two input pixels and "
    "count."
)
def one_gap_too_many(size: int, kernel: int, stride: int, padding: int) -> int:
    return size * stride - 2 * padding + kernel


@conv_transpose_output_size.mistake(
    "You let padding make the output larger. In a transposed convolution it is the output that was "
    "padded, so padding is cut away."
)
def padding_adds(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size - 1) * stride + 2 * padding + kernel


@conv_transpose_output_size.mistake("Padding is cut off at one end only. An image has two opposite edges.")
def padding_once(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size - 1) * stride - padding + kernel


@conv_transpose_output_size.mistake(
    "Too small by one. The last stamp begins at position (size - 1) stride; try `size=1`, where one stamp"
    " is all there is."
)
def kernel_less_one(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size - 1) * stride - 2 * padding + kernel - 1


@conv_transpose_output_size.mistake(
    "size × stride holds for the usual choices (kernel 4, stride 2, padding 1) because there kernel = "
    "stride + 2 padding. In general kernel and padding have a say."
)
def only_the_stride(size: int, kernel: int, stride: int, padding: int) -> int:
    return size * stride


@conv_transpose_output_size.also_right
def count_stamps(size: int, kernel: int, stride: int, padding: int) -> int:
    touched = {start * stride + offset for start in range(size) for offset in range(kernel)}
    return max(touched) + 1 - 2 * padding


@conv_transpose_output_size.also_right
def ask_the_layer(size: int, kernel: int, stride: int, padding: int) -> int:
    x = torch.zeros(1, 1, size, size)
    return F.conv_transpose2d(x, torch.zeros(1, 1, kernel, kernel), stride=stride, padding=padding).shape[-1]


# --- transposed_convolution ---------------------------------------------------------------------------


def convolutions(rng: Rng) -> Iterator[Case]:
    def case(label: str, x: tuple[int, ...], weight: tuple[int, ...], stride: int, padding: int) -> Case:
        x_, weight_ = normal(rng, *x), normal(rng, *weight)
        gradients = ["x", "weight"]
        return call(label, x=x_, weight=weight_, stride=stride, padding=padding, gradients=gradients)

    yield case("as many channels out as in", (2, 3, 4, 6), (3, 3, 4, 4), 2, 1)
    yield case("fewer channels out than in", (2, 3, 4, 6), (3, 2, 4, 4), 2, 1)
    yield case("stride 1, no padding", (3, 2, 5, 3), (2, 4, 3, 3), 1, 0)
    yield case("stride 3, a kernel that is not square", (1, 2, 3, 4), (2, 2, 5, 4), 3, 2)
    yield case("a batch of one pixel each", (4, 5, 1, 1), (5, 3, 4, 4), 1, 0)


def by_torch(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return F.conv_transpose2d(x, weight, stride=stride, padding=padding)


transposed_convolution = Exercise(
    points=3, minutes=20, reference=by_torch, cases=convolutions, rtol=1e-3, atol=1e-4
)


def spread(x: Tensor, step: int, trailing: bool = False) -> Tensor:
    """``x`` with its pixels ``step`` apart and zeros between, after the last too if ``trailing``."""
    batch, channels, height, width = x.shape
    rest = 0 if trailing else step - 1
    wide = x.new_zeros(batch, channels, height * step - rest, width * step - rest)
    wide[:, :, ::step, ::step] = x
    return wide


def convolve(x: Tensor, weight: Tensor, padding: int, flip: tuple[int, ...] = (2, 3)) -> Tensor:
    """A convolution at stride 1 with the kernel of a transposed one."""
    kernel = weight.flip(flip).transpose(0, 1)
    return F.conv2d(x, kernel, padding=(weight.shape[2] - 1 - padding, weight.shape[3] - 1 - padding))


@transposed_convolution.mistake(
    "The kernel is not turned round. `conv2d` is a cross-correlation: lay the stamp of a single input "
    "pixel down by hand and compare which entry of the kernel lands where."
)
def no_flip(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return convolve(spread(x, stride), weight, padding, flip=())


@transposed_convolution.mistake(
    "The kernel is turned round along one axis only. A stamp has a height and a width."
)
def half_a_flip(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return convolve(spread(x, stride), weight, padding, flip=(3,))


@transposed_convolution.mistake(
    "The channel axes of `weight` are as they came: (in, out, …). `conv2d` takes its weight as (out, in, "
    "…); with as many channels in as out nothing complains, but the wrong ones are summed."
)
def channels_as_they_came(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    height, width = weight.shape[2:]
    padded = (height - 1 - padding, width - 1 - padding)
    return F.conv2d(spread(x, stride), weight.flip((2, 3)), padding=padded)


@transposed_convolution.mistake(
    "You exchanged the channel axes with `reshape` or `view`. These keep the numbers in memory order and "
    "only cut them up anew; exchanging two axes is another operation."
)
def channels_by_reshape(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    inputs, outputs, height, width = weight.shape
    kernel = weight.flip((2, 3)).reshape(outputs, inputs, height, width)
    return F.conv2d(spread(x, stride), kernel, padding=(height - 1 - padding, width - 1 - padding))


@transposed_convolution.mistake(
    "You pad the input of the convolution by `padding`. That is what the output loses at each edge: "
    "start from the padding at which every overlap of kernel and image counts, then see what `padding` "
    "does to it."
)
def padding_as_given(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return F.conv2d(spread(x, stride), weight.flip((2, 3)).transpose(0, 1), padding=padding)


@transposed_convolution.mistake(
    "You pad both axes by the kernel's height. A kernel may be wider than high: each side has its own "
    "padding."
)
def padding_of_the_height(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    kernel = weight.flip((2, 3)).transpose(0, 1)
    return F.conv2d(spread(x, stride), kernel, padding=weight.shape[2] - 1 - padding)


@transposed_convolution.mistake(
    "You pad both axes by the kernel's width. A kernel may be higher than wide: each side has its own "
    "padding."
)
def padding_of_the_width(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    kernel = weight.flip((2, 3)).transpose(0, 1)
    return F.conv2d(spread(x, stride), kernel, padding=weight.shape[3] - 1 - padding)


@transposed_convolution.mistake(
    "The output still has its whole border: `padding` has had no effect. Each edge should lose that many "
    "pixels."
)
def padding_forgotten(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return convolve(spread(x, stride), weight, 0)


@transposed_convolution.mistake(
    "There are zeros after the last row and column too. They belong between pixels, so there is one gap "
    "fewer than there are pixels."
)
def zeros_at_the_end(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return convolve(spread(x, stride, trailing=True), weight, padding)


@transposed_convolution.mistake(
    "You insert `stride` zeros between neighbours. At stride 1 there should be none: the new distance of "
    "two neighbours is the stride."
)
def stride_zeros(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return convolve(spread(x, stride + 1), weight, padding)


@transposed_convolution.mistake(
    "You repeat each pixel instead of putting zeros between. That is nearest-neighbour upsampling "
    "followed by a convolution: a layer with merits of its own, but another one."
)
def pixels_repeated(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    repeated = x.repeat_interleave(stride, 2).repeat_interleave(stride, 3)
    return convolve(repeated, weight, padding)


@transposed_convolution.also_right
def zeros_and_convolution(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    return convolve(spread(x, stride), weight, padding)


@transposed_convolution.also_right
def stamp_by_stamp(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    batch, _, height, width = x.shape
    _, outputs, rows, columns = weight.shape
    canvas = x.new_zeros(batch, outputs, (height - 1) * stride + rows, (width - 1) * stride + columns)
    for i in range(height):
        for j in range(width):
            stamp = torch.einsum("bc,cohw->bohw", x[:, :, i, j], weight)
            top, left = i * stride, j * stride
            canvas[:, :, top : top + rows, left : left + columns] += stamp
    return canvas[
        :, :, padding : canvas.shape[2] - padding or None, padding : canvas.shape[3] - padding or None
    ]


@transposed_convolution.also_right
def fold_columns(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    _, _, height, width = x.shape
    inputs, _, rows, columns = weight.shape
    stamps = weight.reshape(inputs, -1).T @ x.flatten(2)
    size = (
        (height - 1) * stride + rows - 2 * padding,
        (width - 1) * stride + columns - 2 * padding,
    )
    return F.fold(stamps, size, (rows, columns), stride=stride, padding=padding)


# --- init_weights -------------------------------------------------------------------------------------


GAINS = ["BatchNorm2d", 20000]  # many, to see their spread; nothing is ever passed through
WITH_BIASES = (
    ["Conv2d", 32, 64, 4],
    GAINS,
    ["Sequential", ["ConvTranspose2d", 64, 32, 4], ["Conv1d", 3, 4, 2], ["BatchNorm1d", 5]],
    ["Linear", 5, 3],
    ["Sequential", ["Tanh"], ["Sequential", ["Conv2d", 32, 64, 4], GAINS, ["BatchNorm1d", 4]]],
)
WITHOUT_BIASES = (
    ["ConvTranspose2d", 32, 64, 4, 2, 1, 0, 1, False],
    GAINS,
    ["Sequential", ["Sequential", ["Conv2d", 64, 32, 4, 2, 1, 1, 1, False], GAINS], ["Linear", 3, 4]],
)


def networks(rng: Rng) -> Iterator[Case]:
    seed = int(rng.integers(1000))
    yield call("convolutions with biases", model=net(rng, *WITH_BIASES), rng=generator(seed))
    yield call("convolutions without biases", model=net(rng, *WITHOUT_BIASES), rng=generator(seed + 1))


def parameter_names(layers: Sequence[list[Any]]) -> list[str]:
    """A name in words for every parameter: "layer 3 (ConvTranspose2d), weight", counted without blocks."""

    def flat(layers: Sequence[list[Any]]) -> Iterator[list[Any]]:
        for layer in layers:
            yield from flat(layer[1:]) if layer[0] == "Sequential" else [layer]

    names = []
    with torch.device("meta"):
        for number, (kind, *arguments) in enumerate(flat(layers), start=1):
            layer = getattr(nn, kind)(*arguments)
            names += [f"layer {number} ({kind}), {name}" for name, _ in layer.named_parameters()]
    return names


NAMES = {len(names): names for names in map(parameter_names, (WITH_BIASES, WITHOUT_BIASES))}


def moments(response: Response) -> Response:
    """Replace large parameters by mean, spread and kurtosis, which do not depend on the draw."""
    values = response["nets"]["model"]
    named = {
        name: _moments(value) if value.size >= 1000 else value
        for name, value in zip(NAMES[len(values)], values, strict=True)
    }
    reduced: Response = {"nets": {"model": named}}
    return reduced | {part: response[part] for part in ("generators", "global_random", "net_state")}


def _moments(values: np.ndarray) -> dict[str, float]:
    mean, std = float(values.mean()), float(values.std())
    squares = ((values - mean) / max(std, 1e-9)) ** 2
    kurtosis = float((squares * squares).mean())
    return {"mean": mean, "standard deviation": std, "kurtosis (3 if normal)": kurtosis}


init_weights = Exercise(
    points=2,
    minutes=10,
    reference=dcgan.init_weights,
    cases=networks,
    observe=moments,
    rtol=0.1,
    atol=0.0015,
)
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


@torch.no_grad()
def initialise(
    model: nn.Module,
    rng: torch.Generator | None,
    convolutions: tuple[type[nn.Module], ...] = CONVOLUTIONS,
    std: float = 0.02,
    gain: float = 1.0,
    bias: Callable[[Tensor], Any] = Tensor.zero_,
    norms: tuple[type[nn.Module], ...] = (nn.BatchNorm2d,),
    layers: Iterable[nn.Module] | None = None,
    norm_rng: torch.Generator | Literal["same"] | None = "same",
) -> None:
    """The right answer, with knobs for the wrong ones."""
    for layer in model.modules() if layers is None else layers:
        parameters: Any = layer
        if isinstance(layer, convolutions):
            parameters.weight.normal_(0.0, std, generator=rng)
        elif isinstance(layer, norms):
            parameters.weight.normal_(gain, std, generator=rng if norm_rng == "same" else norm_rng)
        else:
            continue
        if parameters.bias is not None:
            bias(parameters.bias)


@init_weights.mistake(
    "The spread is √0.02 ≈ 0.14. The 0.02 of the paper is the standard deviation, and so is the second "
    "argument of `normal_`."
)
def variance_for_spread(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, std=math.sqrt(0.02))


@init_weights.mistake(
    "The spread is 0.02² = 0.0004: `normal_` takes the standard deviation, not the variance."
)
def spread_squared(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, std=0.02**2)


@init_weights.mistake(
    "The gains of batch normalisation are drawn around 0. A gain multiplies what comes through: think "
    "what is left of a signal after a few such layers."
)
def gains_around_zero(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, gain=0.0)


@init_weights.mistake(
    "Batch normalisation is left as it was. It has parameters of its own, a gain and a shift."
)
def norms_forgotten(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, norms=())


@init_weights.mistake(
    "The transposed convolutions are left as they were. `nn.ConvTranspose2d` is not a subclass of "
    "`nn.Conv2d`, and a generator consists of nothing else."
)
def transposed_forgotten(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, convolutions=(nn.Conv2d,))


@init_weights.mistake(
    "Nothing has changed. The function gets the whole network: its layers are inside, and you have to go "
    "through them."
)
def outermost_only(model: nn.Module, rng: torch.Generator) -> None:
    if isinstance(model, CONVOLUTIONS):
        initialise(model, rng)


@init_weights.mistake(
    "Only the outermost layers were reached. Blocks contain layers in turn: `model.modules()` walks through "
    "all of them."
)
def children_only(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, layers=model.children())


@init_weights.mistake(
    "Layers were reached inside blocks, but not inside blocks of blocks. These may be nested to any depth: "
    "`model.modules()` walks through all of them."
)
def two_levels(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, layers=[x for child in model.children() for x in (child, *child.children())])


@init_weights.mistake(
    "Conv1d or BatchNorm1d was drawn anew as well: `'Conv' in name` matches more than is asked for. Test "
    "with `isinstance`."
)
def by_part_of_the_name(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, (*CONVOLUTIONS, nn.Conv1d), norms=(nn.BatchNorm2d, nn.BatchNorm1d))


@init_weights.mistake(
    "The numbers come from PyTorch's global generator. Hand `generator=rng` to every draw, or the run "
    "cannot be repeated."
)
def global_generator(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, None)


@init_weights.mistake(
    "Part of the numbers still come from PyTorch's global generator. Hand `generator=rng` to every draw, "
    "those of the gains too."
)
def global_for_the_gains(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, norm_rng=None)


@init_weights.mistake(
    "`rng` stands where it stood: the numbers come from another generator or from a copy. Draw from `rng` "
    "itself, so that whoever draws from it next gets fresh numbers."
)
def own_generator(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, torch.Generator().manual_seed(0))


@init_weights.mistake(
    "The linear layer was drawn anew as well. The rule is for convolutions and batch normalisation; test "
    "the type of a layer before you touch it."
)
def linear_too(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, convolutions=(*CONVOLUTIONS, nn.Linear))


@init_weights.mistake(
    "The weights are right, the biases and shifts are left as they were. A network to be initialised may "
    "have been used before."
)
def biases_left(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, bias=lambda bias: None)


@init_weights.mistake("The biases and shifts are drawn at random. They should start at zero.")
def biases_drawn(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng, bias=lambda bias: bias.normal_(0.0, 0.02, generator=rng))


@init_weights.mistake(
    "The weights of the convolutions are uniform, where a normal distribution is asked for: none is "
    "larger than 0.02."
)
@torch.no_grad()
def uniform(model: nn.Module, rng: torch.Generator) -> None:
    initialise(model, rng)
    for layer in model.modules():
        if isinstance(layer, CONVOLUTIONS):
            layer.weight.uniform_(-0.02, 0.02, generator=rng)


@init_weights.also_right
def by_apply(model: nn.Module, rng: torch.Generator) -> nn.Module:
    def visit(layer: nn.Module) -> None:
        if isinstance(layer, (*CONVOLUTIONS, nn.BatchNorm2d)):
            centre = 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0
            weight: Any = layer.weight
            weight.data = centre + 0.02 * torch.randn(weight.shape, generator=rng)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    return model.apply(visit)


@init_weights.also_right
def by_nn_init(model: nn.Module, rng: torch.Generator) -> None:
    for layer in model.modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.BatchNorm2d)):
            weight: Any = layer.weight
            mean = 1.0 if isinstance(layer, nn.BatchNorm2d) else 0.0
            nn.init.normal_(weight, mean, 0.02, generator=rng)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 0.0)


@init_weights.also_right
def layer_within_layer(model: nn.Module, rng: torch.Generator) -> None:
    """A recursion; the inner layers first."""
    for child in model.children():
        layer_within_layer(child, rng)
    initialise(model, rng, layers=[model])


# --- Generator64 --------------------------------------------------------------------------------------


def shapes(build: Callable[..., nn.Module], *arguments: int) -> list[tuple[int, ...]]:
    """The shapes of a module's parameters, without drawing any."""
    with torch.device("meta"):
        return [tuple(p.shape) for p in build(*arguments).parameters()]


def drawn(rng: Rng, build: Callable[..., nn.Module], *arguments: int) -> list[np.ndarray]:
    """Parameters for a module: matrices and kernels around 0, gains and the like away from it."""
    return [
        normal(rng, *shape, mean=0.0 if len(shape) > 1 else 0.4, scale=0.3)
        for shape in shapes(build, *arguments)
    ]


def generators(rng: Rng) -> Iterator[Case]:
    for label, batch, *sizes in [("grey images", 3, 5, 2, 1), ("colour images, in evaluation", 2, 3, 1, 3)]:
        init = dict(zip(("latent", "channels", "image_channels"), sizes, strict=True))
        parameters = drawn(rng, generator64, *sizes)
        training = label == "grey images"
        inputs, seen = [normal(rng, batch, sizes[0])], [normal(rng, 3, sizes[0])]
        yield module(
            label,
            init=init,
            parameters=parameters,
            inputs=inputs,
            training=training,
            seen=None if training else seen,
        )


class Sequence64(nn.Module):
    """A generator made of parts; the wrong ones differ in one part."""

    def __init__(
        self,
        latent: int,
        widths: Sequence[int],
        last: Sequence[nn.Module] = (),
        activation: type[nn.Module] = nn.ReLU,
        last_norm: bool = False,
        channels_last: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.wide, self.channels_last = widths[0], channels_last
        self.project = nn.Linear(latent, widths[0] * 4 * 4)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), activation()]
        for inputs, outputs in pairwise(widths[:-1]):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias), nn.BatchNorm2d(outputs)]
            layers.append(activation())
        layers.append(nn.ConvTranspose2d(widths[-2], widths[-1], 4, 2, 1))
        if last_norm:
            layers.append(nn.BatchNorm2d(widths[-1]))
        self.layers = nn.Sequential(*layers, *last)

    def forward(self, z: Tensor) -> Tensor:
        x = self.project(z)
        if self.channels_last:
            return self.layers(x.view(len(z), 4, 4, self.wide).permute(0, 3, 1, 2))
        return self.layers(x.view(len(z), self.wide, 4, 4))


def five_widths(channels: int, image_channels: int) -> list[int]:
    return [8 * channels, 4 * channels, 2 * channels, channels, image_channels]


def generator64(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, five_widths(channels, image_channels), [nn.Tanh()])


Generator64 = Exercise(points=2, minutes=15, reference=generator64, cases=generators, rtol=1e-3, atol=1e-3)


@Generator64.mistake(
    "This still ends at 16 × 16. Each transposed convolution here doubles the side once: count how many "
    "times 4 has to be doubled. Enlarging the finished picture would give it pixels, not detail."
)
def as_published(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, [8 * channels, 4 * channels, image_channels], [nn.Tanh()])


@Generator64.mistake(
    "This ends at 32 × 32: one doubling is still missing. Write down channels and side after each layer."
)
def one_doubling_short(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, [8 * channels, 4 * channels, 2 * channels, image_channels], [nn.Tanh()])


@Generator64.mistake(
    "The last layer ends in a sigmoid, so the images lie in [0, 1]. Our images lie in [-1, 1], and the "
    "discriminator sees real ones beside these."
)
def sigmoid_at_the_end(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, five_widths(channels, image_channels), [nn.Sigmoid()])


@Generator64.mistake(
    "Nothing bounds the output. Images lie in [-1, 1]; the code that you were given ends in an activation."
)
def unbounded(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, five_widths(channels, image_channels))


@Generator64.mistake("There is a ReLU before the tanh, so no pixel can be darker than 0, the middle grey.")
def relu_before_tanh(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, five_widths(channels, image_channels), [nn.ReLU(), nn.Tanh()])


@Generator64.mistake(
    "Batch normalisation stands before the tanh of the last layer. It fixes mean and spread of the pixels"
    " in each batch, which the data do not obey: leave the output layer without."
)
def norm_before_tanh(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, five_widths(channels, image_channels), [nn.Tanh()], last_norm=True)


@Generator64.mistake(
    "Every hidden layer has as many channels as the first. Each doubling of the side should halve them."
)
def channels_kept(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, [8 * channels] * 4 + [image_channels], [nn.Tanh()])


@Generator64.mistake(
    "The activations are LeakyReLU. That is the discriminator's; the generator that you were given has ReLU."
)
def leaky_generator(latent: int, channels: int, image_channels: int) -> nn.Module:
    widths = five_widths(channels, image_channels)
    return Sequence64(latent, widths, [nn.Tanh()], activation=lambda: nn.LeakyReLU(0.2))  # type: ignore[arg-type]


@Generator64.mistake(
    "The projection is cut up as (4, 4, channels). PyTorch keeps channels first: (channels, 4, 4)."
)
def channels_at_the_end(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, five_widths(channels, image_channels), [nn.Tanh()], channels_last=True)


@Generator64.mistake(
    "A bias before batch normalisation is subtracted again with the mean: `bias=False` there."
)
def superfluous_biases(latent: int, channels: int, image_channels: int) -> nn.Module:
    return Sequence64(latent, five_widths(channels, image_channels), [nn.Tanh()], bias=True)


@Generator64.also_right
class LayerByLayer(nn.Module):
    def __init__(self, latent: int, channels: int, image_channels: int) -> None:
        super().__init__()
        c = channels
        self.linear = nn.Linear(latent, 128 * c)
        self.norm0 = nn.BatchNorm2d(8 * c)
        self.up1 = nn.ConvTranspose2d(8 * c, 4 * c, 4, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(4 * c)
        self.up2 = nn.ConvTranspose2d(4 * c, 2 * c, 4, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * c)
        self.up3 = nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(c)
        self.up4 = nn.ConvTranspose2d(c, image_channels, 4, stride=2, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.norm0(self.linear(z).reshape(z.shape[0], -1, 4, 4)))
        x = F.relu(self.norm1(self.up1(x)))
        x = F.relu(self.norm2(self.up2(x)))
        x = F.relu(self.norm3(self.up3(x)))
        return torch.tanh(self.up4(x))


@Generator64.also_right
class Unflattened(nn.Sequential):
    def __init__(self, latent: int, channels: int, image_channels: int) -> None:
        layers: list[nn.Module] = [nn.Linear(latent, 128 * channels), nn.Unflatten(1, (8 * channels, 4, 4))]
        for factor in (8, 4, 2):
            layers += [nn.BatchNorm2d(factor * channels), nn.ReLU()]
            layers += [nn.ConvTranspose2d(factor * channels, factor * channels // 2, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.ConvTranspose2d(channels, image_channels, 4, 2, 1)]
        super().__init__(*layers, nn.Tanh())


# --- Discriminator64 ----------------------------------------------------------------------------------


def discriminators(rng: Rng) -> Iterator[Case]:
    for label, batch, *sizes in [("grey images", 4, 2, 1), ("one colour image", 1, 1, 3)]:
        init = dict(zip(("channels", "image_channels"), sizes, strict=True))
        parameters = drawn(rng, discriminator64, *sizes)
        inputs = [normal(rng, batch, sizes[1], 64, 64)]
        yield module(label, init=init, parameters=parameters, inputs=inputs)


class Halvings(nn.Module):
    """A discriminator made of parts; the wrong ones differ in one part."""

    def __init__(
        self,
        widths: Sequence[int],
        features: int,
        slope: float = 0.2,
        first_norm: bool = False,
        pool: bool = False,
        bias: bool = False,
        ending: Callable[[Tensor], Tensor] = lambda logits: logits[:, 0],
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            norm = number > 0 or first_norm
            layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=bias or not norm))
            layers += [nn.BatchNorm2d(outputs)] * norm + [nn.LeakyReLU(slope)]
        self.layers = nn.Sequential(*layers)
        self.logit = nn.Linear(features, 1)
        self.pool, self.ending = pool, ending

    def forward(self, images: Tensor) -> Tensor:
        x = self.layers(images)
        x = x.mean((2, 3)) if self.pool else x.flatten(1)
        return self.ending(self.logit(x))


def halved(channels: int, image_channels: int) -> list[int]:
    return [image_channels, channels, 2 * channels, 4 * channels, 8 * channels]


def discriminator64(channels: int, image_channels: int) -> nn.Module:
    return Halvings(halved(channels, image_channels), 8 * channels * 4 * 4)


Discriminator64 = Exercise(
    points=2, minutes=15, reference=discriminator64, cases=discriminators, rtol=1e-3, atol=1e-3
)


@Discriminator64.mistake(
    "This still halves the side twice and expects 4 × 4 after that, which fits images of 16 × 16. Follow "
    "a side of 64 through the layers."
)
def sixteen_only(channels: int, image_channels: int) -> nn.Module:
    return Halvings([image_channels, channels, 2 * channels], 2 * channels * 4 * 4)


@Discriminator64.mistake(
    "You made the flattening fit by a larger linear layer, over feature maps of 16 × 16. It runs, but one"
    " layer with most of the weights now does the work of two convolutions: go on halving down to 4 × 4."
)
def wide_flattening(channels: int, image_channels: int) -> nn.Module:
    return Halvings([image_channels, channels, 2 * channels], 2 * channels * 16 * 16)


@Discriminator64.mistake(
    "It returns probabilities. The losses of this course take logits and apply the sigmoid themselves; "
    "twice is once too often."
)
def probabilities(channels: int, image_channels: int) -> nn.Module:
    widths = halved(channels, image_channels)
    return Halvings(widths, 128 * channels, ending=lambda logits: logits[:, 0].sigmoid())


@Discriminator64.mistake(
    "Batch normalisation stands in the first layer. There it acts on the pixels' own brightness and "
    "contrast, in which real and generated batches may differ: the guidelines leave it out."
)
def norm_in_the_first(channels: int, image_channels: int) -> nn.Module:
    return Halvings(halved(channels, image_channels), 128 * channels, first_norm=True)


@Discriminator64.mistake(
    "The logits have shape (batch, 1). Asked for is (batch,): subtract one shape from the other and "
    "broadcasting makes a matrix."
)
def a_column(channels: int, image_channels: int) -> nn.Module:
    return Halvings(halved(channels, image_channels), 128 * channels, ending=lambda logits: logits)


@Discriminator64.mistake(
    "A bare `squeeze()` removes every axis of length one, and a batch of one image loses its batch axis. "
    "Name the axis."
)
def squeezed(channels: int, image_channels: int) -> nn.Module:
    return Halvings(halved(channels, image_channels), 128 * channels, ending=torch.squeeze)


@Discriminator64.mistake(
    "You average over positions before the linear layer. The logit then no longer knows where on the "
    "image something was; the code that you were given flattens."
)
def pooled(channels: int, image_channels: int) -> nn.Module:
    return Halvings(halved(channels, image_channels), 8 * channels, pool=True)


@Discriminator64.mistake(
    "The activation is ReLU. Where its input is negative it passes no gradient on to the generator; the "
    "given code leaks."
)
def plain_relu(channels: int, image_channels: int) -> nn.Module:
    return Halvings(halved(channels, image_channels), 128 * channels, slope=0.0)


@Discriminator64.mistake("The LeakyReLU has PyTorch's default slope, 0.01. The task asks for 0.2.")
def default_slope(channels: int, image_channels: int) -> nn.Module:
    return Halvings(halved(channels, image_channels), 128 * channels, slope=0.01)


@Discriminator64.mistake(
    "The sizes fit now. Two faults of the given code are left: it returns probabilities, and a bare "
    "`squeeze()` also removes the batch axis of a single image."
)
def sizes_mended_only(channels: int, image_channels: int) -> nn.Module:
    widths = halved(channels, image_channels)
    return Halvings(widths, 128 * channels, ending=lambda logits: logits.sigmoid().squeeze())


@Discriminator64.mistake(
    "The sizes fit now. Two faults are left: it returns probabilities, and in shape (batch, 1) where "
    "(batch,) is asked for."
)
def a_column_of_probabilities(channels: int, image_channels: int) -> nn.Module:
    return Halvings(halved(channels, image_channels), 128 * channels, ending=torch.sigmoid)


@Discriminator64.mistake(
    "A bias before batch normalisation is subtracted again with the mean: `bias=False` there."
)
def biases_before_norms(channels: int, image_channels: int) -> nn.Module:
    return Halvings(halved(channels, image_channels), 128 * channels, bias=True)


@Discriminator64.also_right
class StageByStage(nn.Module):
    def __init__(self, channels: int, image_channels: int) -> None:
        super().__init__()
        c = channels
        self.conv1 = nn.Conv2d(image_channels, c, 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(c, 2 * c, 4, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(2 * c)
        self.conv3 = nn.Conv2d(2 * c, 4 * c, 4, stride=2, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(4 * c)
        self.conv4 = nn.Conv2d(4 * c, 8 * c, 4, stride=2, padding=1, bias=False)
        self.norm4 = nn.BatchNorm2d(8 * c)
        self.linear = nn.Linear(8 * c * 16, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv1(images), 0.2)
        x = F.leaky_relu(self.norm2(self.conv2(x)), 0.2)
        x = F.leaky_relu(self.norm3(self.conv3(x)), 0.2)
        x = F.leaky_relu(self.norm4(self.conv4(x)), 0.2)
        return self.linear(x.reshape(x.shape[0], -1)).squeeze(1)


@Discriminator64.also_right
class AllInOne(nn.Sequential):
    def __init__(self, channels: int, image_channels: int) -> None:
        layers: list[nn.Module] = [nn.Conv2d(image_channels, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
        for factor in (1, 2, 4):
            layers.append(nn.Conv2d(factor * channels, 2 * factor * channels, 4, 2, 1, bias=False))
            layers += [nn.BatchNorm2d(2 * factor * channels), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Flatten(), nn.Linear(128 * channels, 1), nn.Flatten(0))


# --- ema_update ---------------------------------------------------------------------------------------


def averages(rng: Rng) -> Iterator[Case]:
    block = ["Sequential", ["Tanh"], ["Sequential", ["Linear", 4, 2], ["BatchNorm1d", 2]]]
    layers = (["Conv2d", 2, 3, 3], ["BatchNorm2d", 3], block)
    for label, decay, repeat in [("decay 0.9", 0.9, 1), ("decay 0.75, three updates", 0.75, 3)]:
        average, model = net(rng, *layers), net(rng, *layers)
        for which, shift in ((average, 2.0), (model, 5.0)):
            which["state"] = [
                np.array(int(shift * 10), "int64")
                if value.dtype == "int64"
                else normal(rng, *value.shape, mean=shift)
                for value in which["state"]
            ]
        yield call(
            label,
            average=average,
            model=model,
            decay=decay,
            buffers=["average", "model"],
            repeat=repeat,
        )


def what_is_asked_for(response: Response) -> Response:
    """Leave out what does not matter: what is returned, and whether the average has been frozen."""
    kept = {**response, "returned": None}
    if "net_state" in response:
        kept["net_state"] = {n: state for n, state in response["net_state"].items() if n != "average"}
    return kept


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mine, other in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.mul_(decay).add_(other, alpha=1 - decay)
        else:
            mine.copy_(other)


ema_update = Exercise(
    points=2, minutes=10, reference=update_average, cases=averages, observe=what_is_asked_for
)


@ema_update.mistake(
    "The decay is on the wrong side. It is the share of the old average that stays: with 0.999 the "
    "average must hardly move."
)
def exchanged(average: nn.Module, model: nn.Module, decay: float) -> None:
    update_average(average, model, 1 - decay)


@ema_update.mistake(
    "The parameters are averaged, the buffers are not. Batch normalisation's running mean and variance "
    "belong to the weights: with those of the start, the averaged generator makes noise."
)
@torch.no_grad()
def parameters_only(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mine, other in zip(average.parameters(), model.parameters(), strict=True):
        mine.lerp_(other, 1 - decay)


@ema_update.mistake(
    "The floating-point buffers are copied where they should be averaged. They describe the activations "
    "of the weights that they come with; averaged weights want averaged statistics."
)
@torch.no_grad()
def buffers_copied(average: nn.Module, model: nn.Module, decay: float) -> None:
    parameters_only(average, model, decay)
    for mine, other in zip(average.buffers(), model.buffers(), strict=True):
        mine.copy_(other)


@ema_update.mistake(
    "The counter of batches is left behind. It is an integer and cannot be averaged; take the model's."
)
@torch.no_grad()
def counter_left(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mine, other in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.lerp_(other, 1 - decay)


@ema_update.mistake(
    "The counter of batches was averaged and cut off to an integer. Buffers that are not floating-point "
    "should be copied."
)
@torch.no_grad()
def counter_averaged(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mine, other in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        mine.copy_(decay * mine + (1 - decay) * other)


@ema_update.mistake(
    "The average has not moved. An expression such as `p = decay * p + …` makes a new tensor and forgets "
    "it; the tensors of `average` have to be changed in place."
)
def forgotten_result(average: nn.Module, model: nn.Module, decay: float) -> None:
    pairs: Any = zip(average.parameters(), model.parameters(), strict=True)
    for mine, other in pairs:
        mine = decay * mine + (1 - decay) * other


@ema_update.mistake(
    "You changed the model that is being trained and left the average alone. Training must not notice "
    "that it is watched."
)
def wrong_way_round(average: nn.Module, model: nn.Module, decay: float) -> None:
    update_average(model, average, decay)


@ema_update.mistake(
    "The average has become a copy of the model: the decay has no effect, and nothing of the past is left."
)
def a_copy(average: nn.Module, model: nn.Module, decay: float) -> None:
    average.load_state_dict(model.state_dict())


@ema_update.mistake(
    "The share of the model is added, but the old average is not shrunk by the decay first: the weights "
    "grow with every update."
)
@torch.no_grad()
def not_shrunk(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mine, other in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mine.is_floating_point():
            mine.add_(other, alpha=1 - decay)
        else:
            mine.copy_(other)


@ema_update.mistake(
    "Only the outermost layers were reached. Blocks contain layers in turn: `parameters()` and `buffers()` "
    "of the whole network walk through all of them."
)
@torch.no_grad()
def outermost_layers(average: nn.Module, model: nn.Module, decay: float) -> None:
    for mine, other in zip(average.children(), model.children(), strict=True):
        pairs = [
            *zip(mine.parameters(recurse=False), other.parameters(recurse=False), strict=True),
            *zip(mine.buffers(recurse=False), other.buffers(recurse=False), strict=True),
        ]
        for old, new in pairs:
            old.copy_(decay * old + (1 - decay) * new if old.is_floating_point() else new)


@ema_update.mistake("The decay is an argument; yours is fixed at 0.999.")
def decay_of_999(average: nn.Module, model: nn.Module, decay: float) -> None:
    update_average(average, model, 0.999)


@ema_update.mistake("The decay is an argument; yours is fixed at 0.99.")
def decay_of_99(average: nn.Module, model: nn.Module, decay: float) -> None:
    update_average(average, model, 0.99)


@ema_update.mistake("The decay is an argument; yours is fixed at 0.9.")
def decay_of_9(average: nn.Module, model: nn.Module, decay: float) -> None:
    update_average(average, model, 0.9)


@ema_update.also_right
def through_data(average: nn.Module, model: nn.Module, decay: float) -> nn.Module:
    for mine, other in zip(average.parameters(), model.parameters(), strict=True):
        mine.data = decay * mine.data + (1 - decay) * other.data
    buffers: Any = zip(average.buffers(), model.buffers(), strict=True)
    for mine, other in buffers:
        mine.data = decay * mine + (1 - decay) * other if mine.is_floating_point() else other.clone()
    return average


@ema_update.also_right
def through_the_state(average: nn.Module, model: nn.Module, decay: float) -> None:
    state, new = average.state_dict(), model.state_dict()
    mixed = {
        name: torch.lerp(value, new[name], 1 - decay) if value.is_floating_point() else new[name]
        for name, value in state.items()
    }
    average.load_state_dict(mixed)


# --- diagnose_training --------------------------------------------------------------------------------


def runs(rng: Rng) -> Iterator[Case]:
    """Curves of the four kinds, none near a border, each with a stretch or a spike that may mislead."""
    n = int(rng.integers(160, 240))
    end = n // 4

    def curve(early: float, late: float, noise: float = 0.02, n: int = n) -> np.ndarray:
        end = n // 4  # the last quarter
        start = np.full(n - 2 * end, early)
        path = np.concatenate([start, np.linspace(early, late, end), np.full(end, late)])
        return (path + rng.normal(0, noise, n)).clip(0.0, 1.0).astype("float32")

    def case(label: str, real: np.ndarray, fake: np.ndarray, share: np.ndarray, data: float) -> Case:
        spread = (share * data).astype("float32")
        return call(
            label, real_probability=real, fake_probability=fake, sample_spread=spread, data_spread=data
        )

    data = float(rng.uniform(0.3, 0.5))
    yield case("a calm run", curve(0.7, 0.65), curve(0.35, 0.35), curve(0.5, 0.85), data)
    real, fake = curve(0.99, 0.62, 0.005), curve(0.01, 0.38, 0.005)
    yield case("a discriminator that was ahead early on", real, fake, curve(0.1, 0.9), data)
    real, fake = curve(0.7, 0.65), curve(0.3, 0.35)
    real[-1], fake[-1] = 1.0, 0.0
    yield case("one odd step at the end", real, fake, curve(0.6, 0.8), data)
    yield case(
        "a sure discriminator", curve(0.7, 0.99, 0.004), curve(0.3, 0.01, 0.004), curve(0.6, 0.8), data
    )
    real, fake = curve(0.7, 0.99, 0.004), curve(0.3, 0.01, 0.004)
    real[-1], fake[-1] = 0.5, 0.5
    yield case("a sure discriminator but for its last step", real, fake, curve(0.6, 0.7), data)
    yield case("a perfect balance of probabilities", curve(0.7, 0.5), curve(0.3, 0.5), curve(0.8, 0.05), data)
    real, fake = curve(0.7, 0.99, 0.004), curve(0.3, 0.01, 0.004)
    yield case("two things at once", real, fake, curve(0.8, 0.04), data)
    yield case("no variety from the first step", curve(0.7, 0.6), curve(0.3, 0.4), curve(0.06, 0.05), data)
    yield case("data of little contrast", curve(0.7, 0.6), curve(0.3, 0.4), curve(0.5, 0.8), data / 10)
    yield case("data of much contrast", curve(0.7, 0.6), curve(0.3, 0.4), curve(0.9, 0.08), data * 10)
    yield case(
        "a critic of real images only", curve(0.7, 0.99, 0.004), curve(0.3, 0.45), curve(0.6, 0.8), data
    )
    real, fake = curve(0.3, 0.3), curve(0.3, 0.01, 0.004)
    yield case("a strict discriminator", real, fake, curve(0.6, 0.8), data)
    yield case("a critic often fooled", curve(0.7, 0.99, 0.004), curve(0.3, 0.7), curve(0.6, 0.8), data)
    share = curve(0.6, 0.8)
    share[-3] = 0.01
    yield case("one odd step of the spread", curve(0.7, 0.65), curve(0.3, 0.35), share, data)
    share = curve(0.8, 0.04)
    share[-3] = 0.9
    yield case("no variety but for one odd step", curve(0.7, 0.6), curve(0.3, 0.4), share, data)
    yield case(
        "half the data's spread and a little more", curve(0.7, 0.6), curve(0.3, 0.4), curve(0.8, 0.57), data
    )
    short = curve(0.7, 0.6, n=32), curve(0.3, 0.4, n=32), curve(0.9, 0.04, n=32)
    yield case("a short run", *short, data)
    for label, value in (("a spread that is infinite once", np.inf), ("a spread that is NaN once", np.nan)):
        share = curve(0.5, 0.85)
        share[n // 3] = value
        yield case(label, curve(0.7, 0.65), curve(0.35, 0.35), share, data)
    real = curve(0.7, 0.6)
    real[n // 4] = np.nan
    yield case("a lost step before a collapse", real, curve(0.3, 0.4), curve(0.8, 0.04), data)
    for label, where in (("a run that broke off", n - end // 2), ("one lost step", n // 3)):
        real, fake, share = curve(0.7, 0.65), curve(0.35, 0.35), curve(0.5, 0.85)
        if label == "one lost step":
            real[where] = np.nan
        else:
            fake[where:] = np.nan
        yield case(label, real, fake, share, data)


def last_quarter(values: Tensor) -> float:
    return values[-(len(values) // 4) :].mean().item()


def judge(
    real: Tensor,
    fake: Tensor,
    spread: Tensor,
    data_spread: float,
    mean: Callable[[Tensor], float] = last_quarter,
) -> str:
    if not torch.isfinite(torch.cat([real, fake, spread])).all():
        return "diverged"
    if mean(spread) < data_spread / 3:
        return "collapsed"
    if mean(real) > 0.9 and mean(fake) < 0.1:
        return "discriminator won"
    return "healthy"


def diagnosis(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    return judge(real_probability, fake_probability, sample_spread, data_spread)


diagnose_training = Exercise(points=2, minutes=15, reference=diagnosis, cases=runs)


@diagnose_training.mistake(
    "You judge by the last step alone. Single steps of a GAN jump about; average over the end of the run."
)
def last_step_only(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    last: Callable[[Tensor], float] = lambda values: values[-1].item()  # noqa: E731
    return judge(real_probability, fake_probability, sample_spread, data_spread, last)


@diagnose_training.mistake(
    "You average over the whole run. How it began is history: a discriminator that is ahead for a while "
    "at the start is normal."
)
def whole_run(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    mean: Callable[[Tensor], float] = lambda values: values.mean().item()  # noqa: E731
    return judge(real_probability, fake_probability, sample_spread, data_spread, mean)


@diagnose_training.mistake(
    "You never look at how much the samples differ. A balance of the two players, even at 0.5 and 0.5, "
    "says nothing about the variety of what is made."
)
def spread_ignored(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    varied = torch.where(torch.isfinite(sample_spread), data_spread, sample_spread)
    return judge(real_probability, fake_probability, varied, data_spread)


@diagnose_training.mistake(
    "You compare the spread of the samples with a fixed number. Data of little contrast have little "
    "spread themselves: compare with `data_spread`."
)
def absolute_spread(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    return judge(real_probability, fake_probability, sample_spread, 0.4)


@diagnose_training.mistake(
    "You look at D(x) alone. A discriminator that knows real images but is also fooled by generated ones "
    "has not won."
)
def real_only(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    none = torch.where(torch.isfinite(fake_probability), 0.0, fake_probability)
    return judge(real_probability, none, sample_spread, data_spread)


@diagnose_training.mistake(
    "You look at D(G(z)) alone. A discriminator that rejects nearly everything, real images too, has not won."
)
def fake_only(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    one = torch.where(torch.isfinite(real_probability), 1.0, real_probability)
    return judge(one, fake_probability, sample_spread, data_spread)


@diagnose_training.mistake(
    "A run with a NaN in it passes for something else. Comparisons with NaN are all false, so it falls "
    "through every test: look for it first, anywhere in the run."
)
def nan_unseen(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    if last_quarter(sample_spread) < data_spread / 3:
        return "collapsed"
    if last_quarter(real_probability) > 0.9 and last_quarter(fake_probability) < 0.1:
        return "discriminator won"
    return "healthy"


@diagnose_training.mistake(
    "You look for NaN at the end of the run only. One lost step means that a loss was not finite, and "
    "what follows cannot be trusted."
)
def nan_at_the_end(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    end = len(real_probability) // 4
    if not torch.isfinite(real_probability[-end:] + fake_probability[-end:]).all():
        return "diverged"
    return nan_unseen(real_probability, fake_probability, sample_spread, data_spread)


@diagnose_training.mistake(
    "Where the samples are all alike and the discriminator is sure, the collapse is what has to be "
    "named first: the first diagnosis of the list that applies."
)
def winner_first(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    varied = torch.where(torch.isfinite(sample_spread), data_spread, sample_spread)
    first = judge(real_probability, fake_probability, varied, data_spread)
    if first == "healthy":
        return judge(real_probability, fake_probability, sample_spread, data_spread)
    return first


@diagnose_training.mistake("Infinity is not finite either: `torch.isfinite` catches both.")
def only_nan(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    if torch.cat([real_probability, fake_probability, sample_spread]).isnan().any():
        return "diverged"
    return nan_unseen(real_probability, fake_probability, sample_spread, data_spread)


@diagnose_training.mistake(
    "A NaN early in `real_probability` is missed: look in all three curves, from the first step on."
)
def real_unchecked(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    if not torch.isfinite(torch.cat([fake_probability, sample_spread])).all():
        return "diverged"
    return nan_unseen(real_probability, fake_probability, sample_spread, data_spread)


@diagnose_training.mistake("A NaN in `fake_probability` is missed: look in all three curves.")
def fake_unchecked(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    if not torch.isfinite(torch.cat([real_probability, sample_spread])).all():
        return "diverged"
    return nan_unseen(real_probability, fake_probability, sample_spread, data_spread)


@diagnose_training.mistake(
    "What is not finite in `sample_spread` is missed: look in all three curves, not at the probabilities "
    "alone."
)
def spread_unchecked(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    if not torch.isfinite(torch.cat([real_probability, fake_probability])).all():
        return "diverged"
    return nan_unseen(real_probability, fake_probability, sample_spread, data_spread)


@diagnose_training.mistake(
    "You look for NaN last. A run that was not finite somewhere has diverged, whatever its end looks like: "
    "the first diagnosis of the list that applies."
)
def divergence_last(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    found = nan_unseen(real_probability, fake_probability, sample_spread, data_spread)
    if found != "healthy":
        return found
    return judge(real_probability, fake_probability, sample_spread, data_spread)


@diagnose_training.mistake(
    "You ask for a gap between D(x) and D(G(z)). A wide gap is not yet certainty: at 0.99 and 0.45 D is sure "
    "about one kind of image only."
)
def half_a_gap(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    found = judge(real_probability, fake_probability, sample_spread, data_spread)
    gap = last_quarter(real_probability) - last_quarter(fake_probability)
    return "discriminator won" if found == "healthy" and gap > 0.5 else found


@diagnose_training.mistake(
    "To be sure about one kind of image is enough for you. Both are asked for: `and`, not `or`."
)
def either_kind(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    found = judge(real_probability, fake_probability, sample_spread, data_spread)
    sure = last_quarter(real_probability) > 0.9 or last_quarter(fake_probability) < 0.1
    return "discriminator won" if found == "healthy" and sure else found


@diagnose_training.mistake(
    "One odd step is enough to change your judgement: average over the last quarter instead of asking every "
    "step."
)
def every_step_sure(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    found = judge(real_probability, fake_probability, sample_spread, data_spread)
    end = len(real_probability) // 4
    sure = (real_probability[-end:] > 0.9).all() and (fake_probability[-end:] < 0.1).all()
    return "healthy" if found == "discriminator won" and not sure else found


@diagnose_training.mistake(
    "One odd step is enough to change your judgement, of the spread too: average each curve over the last "
    "quarter instead of asking every step."
)
def every_step_of_all(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    found = every_step_sure(real_probability, fake_probability, sample_spread, data_spread)
    if found == "collapsed":
        return largest_spread(real_probability, fake_probability, sample_spread, data_spread)
    return found


@diagnose_training.mistake(
    "One late step of large spread hides a collapse from you: judge by the average over the last quarter, "
    "not by the largest value."
)
def largest_spread(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    largest = sample_spread[-(len(sample_spread) // 4) :].max().expand_as(sample_spread)
    finite = torch.isfinite(sample_spread).all()
    return judge(real_probability, fake_probability, largest if finite else sample_spread, data_spread)


@diagnose_training.mistake(
    "One late step of small spread is a collapse to you: judge by the average over the last quarter, not by "
    "the smallest value."
)
def smallest_spread(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    smallest = sample_spread[-(len(sample_spread) // 4) :].min().expand_as(sample_spread)
    finite = torch.isfinite(sample_spread).all()
    return judge(real_probability, fake_probability, smallest if finite else sample_spread, data_spread)


@diagnose_training.also_right
def by_median(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    def middle(values: Tensor) -> float:
        return values[-max(1, len(values) // 5) :].median().item()

    return judge(real_probability, fake_probability, sample_spread, 0.9 * data_spread, middle)


@diagnose_training.also_right
def by_gap(
    real_probability: Tensor, fake_probability: Tensor, sample_spread: Tensor, data_spread: float
) -> str:
    curves = torch.stack([real_probability, fake_probability, sample_spread / data_spread])
    if curves.isnan().any() or curves.isinf().any():
        return "diverged"
    real, fake, variety = curves[:, -(curves.shape[1] // 4) :].mean(1).tolist()
    if variety < 0.25:
        return "collapsed"
    return "discriminator won" if real - fake > 0.85 else "healthy"


# --- slerp --------------------------------------------------------------------------------------------


def arcs(rng: Rng) -> Iterator[Case]:
    def rows(count: int, dim: int) -> np.ndarray:
        return normal(rng, count, dim) * rng.uniform(0.5, 3.0, size=(count, 1)).astype("float32")

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    t = float(rng.uniform(0.2, 0.4))
    yield call("rows of several lengths", a=rows(4, 6), b=rows(4, 6), t=t)
    yield call("a single row", a=rows(1, 64), b=rows(1, 64), t=1 - t)
    yield call("the far end", a=rows(3, 5), b=rows(3, 5), t=1.0)
    # Multiples by powers of two: rounding is the same whatever the order of the sums. In the first row
    # the cosine is exactly 1, in the other two float32 arithmetic makes it a little larger.
    parallel = np.array([[2, 0, 0], [0, 3, 3], [5, 0, 3]], "float32")[:, rng.permutation(3)]
    factors = (2.0 ** rng.integers(-2, 3, size=(3, 1))).astype("float32")
    a = np.concatenate([rows(1, 3), parallel])
    b = np.concatenate([rows(1, 3), parallel * factors])
    yield call("rows of parallel vectors", a=a, b=b, t=t)
    u = unit(rows(3, 6))
    v = rows(3, 6)
    v = unit(v - (u * v).sum(1, keepdims=True) * u)
    near = np.cos(0.25) * u + np.sin(0.25) * v
    a, b = (2.0 * u).astype("float32"), (3.0 * near).astype("float32")
    yield call("an angle of a quarter", a=a, b=b, t=0.5)
    yield call("short and long vectors", a=rows(3, 6) * np.float32(1e-3), b=rows(3, 6), t=t)
    yield call("long vectors", a=rows(3, 6) * np.float32(1e3), b=rows(3, 6) * np.float32(1e3), t=t)


def great_circle(a: Tensor, b: Tensor, t: float) -> Tensor:
    return interpolate.slerp(a, b, t)


slerp = Exercise(points=2, minutes=15, reference=great_circle, cases=arcs, rtol=1e-3, atol=1e-4)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between the rows, (rows, 1)."""
    return F.cosine_similarity(a, b, dim=-1)[:, None].clamp(-1.0, 1.0)


def along(a: Tensor, b: Tensor, t: float, angle: Tensor) -> Tensor:
    """The formula, with the straight line where the angle is 0."""
    parallel = angle < 1e-3
    safe = angle.where(~parallel, torch.ones_like(angle))
    arc = (torch.sin((1 - t) * safe) * a + torch.sin(t * safe) * b) / torch.sin(safe)
    return torch.where(parallel, (1 - t) * a + t * b, arc)


@slerp.mistake(
    "This is the straight line, lerp. Between two points of a sphere it cuts through the inside: measure "
    "the norm halfway."
)
def straight(a: Tensor, b: Tensor, t: float) -> Tensor:
    return (1 - t) * a + t * b


@slerp.mistake("It walks from `b` to `a`: at t = 0 it should stand on `a`.")
def backwards(a: Tensor, b: Tensor, t: float) -> Tensor:
    return great_circle(b, a, t)


@slerp.mistake(
    "The result has length 1. Unit vectors are needed for the angle only; the sum is of `a` and `b` as "
    "they came."
)
def unit_length(a: Tensor, b: Tensor, t: float) -> Tensor:
    return great_circle(F.normalize(a, dim=-1), F.normalize(b, dim=-1), t)


@slerp.mistake(
    "There is one angle for the whole batch. Every row has its own pair of vectors and so its own angle: "
    "mind `dim`."
)
def one_angle(a: Tensor, b: Tensor, t: float) -> Tensor:
    angle = torch.acos(((a * b).sum() / (a.norm() * b.norm())).clamp(-1, 1))
    return along(a, b, t, angle.expand(len(a), 1))


@slerp.mistake(
    "The sum is not divided by the sine of the angle: look at what comes out at t = 0, where it should be"
    " `a`."
)
def undivided(a: Tensor, b: Tensor, t: float) -> Tensor:
    angle = torch.acos(cosine(a, b))
    arc = torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b
    return torch.where(angle < 1e-3, (1 - t) * a + t * b, arc)


@slerp.mistake(
    "Rows whose vectors are parallel are divided by sin 0. In that limit the arc becomes the straight "
    "line: treat those rows apart, with `torch.where`."
)
def divided_by_zero(a: Tensor, b: Tensor, t: float) -> Tensor:
    angle = torch.acos(cosine(a, b))
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


@slerp.mistake(
    "Rounding pushes a cosine a little above 1, and the arccosine there is NaN: clamp it to [-1, 1] first."
)
def not_clamped(a: Tensor, b: Tensor, t: float) -> Tensor:
    product = (a * b).sum(-1, keepdim=True) / (a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True))
    return along(a, b, t, torch.acos(product))


@slerp.mistake(
    "Where vectors are nearly parallel you take the straight line, and too soon: at a quarter of a radian it "
    "is off by almost a hundredth. Keep it for angles that rounding spoils, below a thousandth or so."
)
def straight_too_soon(a: Tensor, b: Tensor, t: float) -> Tensor:
    angle = torch.acos(cosine(a, b))
    return torch.where(angle < 0.3, straight(a, b, t), along(a, b, t, angle))


@slerp.mistake(
    "The angle comes from a dot product of vectors whose lengths are not 1. The dot product is the cosine"
    " only for unit vectors."
)
def angle_of_long_vectors(a: Tensor, b: Tensor, t: float) -> Tensor:
    angle = torch.acos((a * b).sum(-1, keepdim=True).clamp(-0.999, 0.999))
    return along(a, b, t, angle)


@slerp.mistake(
    "The length of the straight line is corrected, but not its speed: the direction still runs along the "
    "chord, slow at the ends and fast in the middle."
)
def renormalised_line(a: Tensor, b: Tensor, t: float) -> Tensor:
    line = (1 - t) * a + t * b
    length = (1 - t) * a.norm(dim=-1, keepdim=True) + t * b.norm(dim=-1, keepdim=True)
    return F.normalize(line, dim=-1) * length


@slerp.also_right
def by_arccosine(a: Tensor, b: Tensor, t: float) -> Tensor:
    return along(a, b, t, torch.acos(cosine(a, b).clamp(-1 + 1e-7, 1 - 1e-7)))


@slerp.also_right
def row_by_row(a: Tensor, b: Tensor, t: float) -> Tensor:
    points = []
    for u, v in zip(a, b, strict=True):
        angle = torch.acos((u @ v / (u.norm() * v.norm())).clamp(-1, 1))
        if angle < 1e-3:
            points.append(u + t * (v - u))
        else:
            points.append((torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / torch.sin(angle))
    return torch.stack(points)
