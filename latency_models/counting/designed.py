"""The kernels that are measured: shapes drawn over what networks of the spaces hold.

Each kind is drawn by itself, so that what a rare kind costs is known as well as what a common one
does; sizes are drawn evenly on a logarithmic scale, inside limits that keep emulation short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from latency_models.kernels import Kernel, MoveKind, conv_kind

SEED = 0
SIZES = (4, 7, 8, 14, 16, 28, 32, 56, 112)
IMAGE_SIZES = (32, 64, 112, 224)
"""Of what the first convolution of a network reads."""
MACS = (20_000, 60_000_000)
ELEMENTS = (256, 1_300_000)
RAGGED_SHARE = 0.25
"""How many kernels read channels that are no multiple of four, and how many write such."""

Draw = Callable[[np.random.Generator], Kernel | None]


def channels(rng: np.random.Generator, most: int, groups: int = 1, ragged: bool = False) -> int:
    """A number of channels up to ``most``: a multiple of the groups, by four or eight where not
    ragged."""
    unit = groups if ragged else int(rng.choice((4, 8))) * groups
    drawn = np.exp(rng.uniform(np.log(8), np.log(max(most, 9))))
    count = max(1, round(drawn / unit)) * unit
    return int(count + groups if ragged and (count // groups) % 4 == 0 else count)


def _is_ragged(rng: np.random.Generator) -> bool:
    return bool(rng.random() < RAGGED_SHARE)


def conv(
    rng: np.random.Generator,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    most: int = 1024,
) -> Kernel | None:
    """A convolution of up to ``most`` channels, or None where the drawn one is outside the limits;
    ``groups`` 0: depthwise."""
    read = channels(rng, most, groups or 1, _is_ragged(rng))
    written = read if groups == 0 else channels(rng, most, groups, _is_ragged(rng))
    return _conv(read, written, int(rng.choice(SIZES)), kernel, stride, groups)


def first(rng: np.random.Generator, kernel: int, stride: int) -> Kernel | None:
    """What reads an image, with the few outputs that it has in a small network."""
    return _conv(3, channels(rng, 64), int(rng.choice(IMAGE_SIZES)), kernel, stride, 1)


def _conv(
    read: int, written: int, size: int, kernel: int, stride: int, groups: int
) -> Kernel | None:
    groups = groups or read
    out_size = -(-size // stride)
    weights = written * read // groups * kernel**2
    macs = weights * out_size**2
    in_elements, out_elements = read * size**2, written * out_size**2
    if (
        out_size < 2
        or not MACS[0] <= macs <= MACS[1]
        or max(in_elements, out_elements) > ELEMENTS[1]
    ):
        return None
    return Kernel(
        kind=conv_kind(
            inputs=read, outputs=written, kernel=kernel, groups=groups, out_size=out_size
        ),
        in_channels=read,
        out_channels=written,
        in_elements=in_elements,
        out_elements=out_elements,
        macs=macs,
        weights=weights,
        kernel=kernel,
        stride=stride,
        groups=groups,
    )


def linear(rng: np.random.Generator) -> Kernel:
    """A linear layer."""
    read = channels(rng, 2048, ragged=_is_ragged(rng))
    written = int(rng.choice((10, 100, 1000, channels(rng, 1024))))
    return Kernel(
        kind="linear",
        in_channels=read,
        out_channels=written,
        in_elements=read,
        out_elements=written,
        macs=read * written,
        weights=read * written,
    )


def _map(rng: np.random.Generator, pieces: int = 1) -> tuple[int, int] | None:
    """Channels, which fall into so many pieces, and size of a map."""
    size = int(rng.choice(SIZES))
    count = channels(rng, 1024, pieces, _is_ragged(rng))
    return (count, size) if ELEMENTS[0] <= count * size**2 <= ELEMENTS[1] else None


def move(kind: MoveKind, **settings: object) -> Draw:
    """What draws a kernel that writes a map of the size that it reads."""

    def draw(rng: np.random.Generator) -> Kernel | None:
        found = _map(rng)
        if found is None:
            return None
        count, size = found
        elements = count * size**2
        read = {"scale": elements + count, "add": 2 * elements}
        how = str(settings.get("function", ""))
        return Kernel(
            kind=kind,
            in_channels=count,
            out_channels=count,
            in_elements=read.get(how, elements),
            out_elements=elements,
            function="" if kind == "binary" else how,
        )

    return draw


def shuffle(rng: np.random.Generator) -> Kernel | None:
    """A channel shuffle."""
    groups = int(rng.choice((2, 3, 4, 8)))
    found = _map(rng, groups)
    if found is None or found[0] == groups:
        return None
    count, size = found
    elements = count * size**2
    return Kernel(
        kind="shuffle",
        in_channels=count,
        out_channels=count,
        in_elements=elements,
        out_elements=elements,
        groups=groups,
    )


def pieces(kind: MoveKind) -> Draw:
    """What draws a concat or a split of a few equal parts."""

    def draw(rng: np.random.Generator) -> Kernel | None:
        parts = int(rng.choice((2, 2, 3, 4, 6)))
        found = _map(rng, parts)
        if found is None:
            return None
        count, size = found
        elements = count * size**2
        return Kernel(
            kind=kind,
            in_channels=count,
            out_channels=count,
            in_elements=elements,
            out_elements=elements,
            parts=parts,
        )

    return draw


def gather(rng: np.random.Generator) -> Kernel | None:
    """A selection of channels in runs of one to sixteen."""
    block = int(rng.choice((1, 1, 1, 2, 4, 8, 16)))
    found = _map(rng, 4)
    if found is None:
        return None
    count, size = found
    count = -(-count // block) * block
    written = max(block, round(count * rng.uniform(0.4, 1.1) / block) * block)
    written = -(-written // 4) * 4 if block < 4 else written
    if written // block > 400:
        return None
    return Kernel(
        kind="gather",
        in_channels=count,
        out_channels=written,
        in_elements=count * size**2,
        out_elements=written * size**2,
        parts=-(-written // block),
    )


def pool(rng: np.random.Generator, kernel: int, stride: int, function: str) -> Kernel | None:
    """Average pooling without padding, or maximum pooling padded as a convolution."""
    found = _map(rng)
    if found is None or found[1] < 2 * kernel:
        return None
    count, size = found
    out_size = (size - kernel) // stride + 1 if function == "avg" else (size - 1) // stride + 1
    return Kernel(
        kind="pool",
        in_channels=count,
        out_channels=count,
        in_elements=count * size**2,
        out_elements=count * out_size**2,
        kernel=kernel,
        stride=stride,
        function=function,
    )


def global_pool(rng: np.random.Generator) -> Kernel | None:
    """The mean over all positions."""
    found = _map(rng)
    if found is None:
        return None
    count, size = found
    return Kernel(
        kind="global_pool",
        in_channels=count,
        out_channels=count,
        in_elements=count * size**2,
        out_elements=count,
        kernel=size,
    )


def _drawn(how: Callable[..., Kernel | None], *settings: object, **named: object) -> Draw:
    return lambda rng: how(rng, *settings, **named)


DESIGN: dict[str, tuple[int, Draw]] = {
    "first 3x3": (16, _drawn(first, 3, 2)),
    "first 3x3 s1": (16, _drawn(first, 3, 1)),
    "first 5x5": (24, _drawn(first, 5, 4)),
    "first 7x7": (12, _drawn(first, 7, 2)),
    "1x1": (100, _drawn(conv, 1)),
    "1x1 s2": (10, _drawn(conv, 1, 2)),
    "3x3": (80, _drawn(conv, 3)),
    "3x3 narrow": (70, _drawn(conv, 3, most=128)),
    "3x3 s2": (20, _drawn(conv, 3, 2)),
    "5x5": (12, _drawn(conv, 5)),
    "7x7": (8, _drawn(conv, 7)),
    **{f"1x1 g{g}": (32, _drawn(conv, 1, 1, g)) for g in (2, 4, 8)},
    "1x1 g3": (8, _drawn(conv, 1, 1, 3)),
    **{f"3x3 g{g}": (34, _drawn(conv, 3, 1, g)) for g in (2, 4, 8)},
    **{f"3x3 g{g} narrow": (60, _drawn(conv, 3, 1, g, most=64 * g)) for g in (2, 4, 8)},
    **{f"3x3 g{g} s2": (10, _drawn(conv, 3, 2, g)) for g in (2, 4, 8)},
    "5x5 g4": (8, _drawn(conv, 5, 1, 4)),
    **{f"depthwise {k}x{k} s{s}": (20, _drawn(conv, k, s, 0)) for k in (3, 5, 7) for s in (1, 2)},
    "linear": (40, linear),
    **{
        function: (40, move("elementwise", function=function))
        for function in ("norm", "relu", "hard_swish", "sigmoid", "swish")
    },
    "add": (30, move("binary", function="add")),
    "scale": (30, move("binary", function="scale")),
    "concat": (30, pieces("concat")),
    "split": (24, pieces("split")),
    "shuffle": (24, shuffle),
    "gather": (80, gather),
    "avg 2x2": (60, _drawn(pool, 2, 2, "avg")),
    "avg 3x3": (8, _drawn(pool, 3, 2, "avg")),
    "max 3x3 s2": (24, _drawn(pool, 3, 2, "max")),
    "max 3x3 s1": (8, _drawn(pool, 3, 1, "max")),
    "global": (30, global_pool),
}
"""How many kernels of each sort are drawn, and how."""


def designed(seed: int = SEED) -> Iterator[Kernel]:
    """All kernels of the design; the same seed draws the same ones."""
    for number, (count, draw) in enumerate(DESIGN.values()):
        rng = np.random.default_rng((seed, number))
        found = 0
        while found < count:
            kernel = draw(rng)
            if kernel is not None:
                found += 1
                yield kernel
