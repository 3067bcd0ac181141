"""What is known of each device: prices of kernels, where they come from, how wrong they are.

One YAML file per key in ``latency_models/data``, written by :mod:`latency_models.fit`. A device is
a board with a runtime and a number of threads: a number without its runtime is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from search_space.errors import UnknownName, UserError, shown
from search_space.reading import read_yaml

DATA = Path(__file__).parent / "data"
PER_FLOP = "ns_per_flop."
"""Beginning of the name of a price of FLOPs, before that of their counter."""


@dataclass(frozen=True, kw_only=True)
class FitError:
    """Error of the fit without each network, or its family; fractions of the measured time.

    Attributes:
        mean: Mean absolute relative error.
        median: Median absolute relative error.
        within_10_percent: Share of the networks predicted to within 10 %.
        within_20_percent: Share of the networks predicted to within 20 %.
        log_residual_90: Nine of ten networks have ``|ln(predicted / measured)|`` below this.
    """

    mean: float
    median: float
    within_10_percent: float
    within_20_percent: float
    log_residual_90: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Device:
    """A board with a runtime and a number of threads, batch 1, on the CPU.

    Attributes:
        precision: What the runtime computes a float network in: ``fp32`` or ``fp16``.
        core: The core that the threads run on.
        source: Repository, commit and file of the measurements.
        licence: Licence of the measurements.
        note: What a reader of the numbers should know.
        weights: Prices in nanoseconds by the names that :func:`latency_models.kernels.features`
            charges.
        measured_kinds: How many of the networks hold each kind of kernel.
        networks: The networks fitted.
        macs_range: Multiply-adds of the smallest and of the largest of them.
        error: What the fit gets wrong.
        misfits: Networks of the source that the fit left out as it does not hold for them: by
            name, the predicted over the measured time.
        counted_kinds: Kinds of kernels whose price is that of the instructions and cache misses
            that emulation counts of them, times a factor.
    """

    board: str
    runtime: str
    threads: int
    precision: str
    core: str
    source: str
    licence: str
    note: str
    weights: Mapping[str, float]
    measured_kinds: Mapping[str, int]
    networks: tuple[str, ...]
    macs_range: tuple[int, int]
    error: FitError
    misfits: Mapping[str, float] = field(default_factory=dict)
    counted_kinds: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def counter(self) -> str | None:
        """The counter of ``search_space.cost`` whose FLOPs it prices; None if it prices kernels."""
        names = [name for name in self.weights if name.startswith(PER_FLOP)]
        return names[0].removeprefix(PER_FLOP) if names else None

    @property
    def ns_per_flop(self) -> float:
        """The price of a FLOP, of a device with a counter."""
        return self.weights[f"{PER_FLOP}{self.counter}"]

    @property
    def caution(self) -> str:
        """What every reader of its numbers must know: the note of a device that prices FLOPs."""
        return "" if self.counter is None else self.note

    @property
    def key(self) -> str:
        """``board/runtime/threads``."""
        return f"{self.board}/{self.runtime}/{self.threads}"

    @property
    def file_name(self) -> str:
        """The file that holds the device."""
        return f"{self.board}_{self.runtime}_{self.threads}.yaml"

    @property
    def is_shipped(self) -> bool:
        """Whether its key alone names it."""
        return self.key in DEVICES and device(self.key) is self

    def to_dict(self) -> dict[str, Any]:
        """JSON values, the inverse of :meth:`from_dict`."""
        data: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        data |= {
            "weights": dict(self.weights),
            "measured_kinds": dict(self.measured_kinds),
            "networks": list(self.networks),
            "macs_range": list(self.macs_range),
            "error": asdict(self.error),
            "misfits": dict(self.misfits),
            "counted_kinds": dict(self.counted_kinds),
        }
        return {n: value for n, value in data.items() if value or n not in _MAY_LACK}

    @classmethod
    def from_dict(cls, data: object) -> Device:
        """The device of such values; raises UserError, which names value and rule."""
        return _parse(data)

    def to_yaml(self) -> str:
        """The form that :func:`load_device` reads; the same device gives the same bytes."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, width=98)


def load_device(path: Path) -> Device:
    """Reads a device file.

    Raises:
        UserError: the file cannot be read or breaks a rule; the message names file and rule.
    """
    try:
        data = read_yaml(path)
    except UserError as error:
        raise UserError(f"device file {error}") from None
    try:
        return _parse(data)
    except UserError as error:
        raise UserError(
            f"device file {path}: {error}; write it anew with the fit or `search latency calibrate`"
        ) from None


_MAY_LACK: Mapping[str, Any] = {"misfits": {}, "counted_kinds": {}}


def _parse(data: object) -> Device:
    values = {**_MAY_LACK, **data} if isinstance(data, dict) else data
    values = dict(_record(values, Device, "the file"))
    for name in ("board", "runtime", "precision", "core", "source", "licence", "note"):
        _check(isinstance(values[name], str), name, values[name], "text")
    _check(values["board"] != "", "board", "", "a name")
    _check(_is_count(values["threads"]), "threads", values["threads"], "a whole number above 0")
    values["weights"] = _numbers(values["weights"], "weights")
    _check(values["weights"] != {}, "weights", {}, "prices, one at least")
    values["measured_kinds"] = _numbers(values["measured_kinds"], "measured_kinds")
    values["misfits"] = _numbers(values["misfits"], "misfits")
    values["counted_kinds"] = _numbers(values["counted_kinds"], "counted_kinds")
    networks = values["networks"]
    named = isinstance(networks, list) and all(isinstance(n, str) for n in networks)
    _check(named, "networks", networks, "a list of names")
    values["networks"] = tuple(networks)
    span = values["macs_range"]
    ordered = (
        isinstance(span, list)
        and len(span) == 2
        and all(_is_count(n) for n in span)
        and span[0] <= span[1]
    )
    _check(ordered, "macs_range", span, "the least and the largest multiply-adds")
    values["macs_range"] = tuple(span)
    error = _record(values["error"], FitError, "`error`")
    values["error"] = FitError(**_numbers(error, "error"))
    return Device(**values)


def _record(data: object, kind: type, what: str) -> Mapping[str, Any]:
    """``data`` if it is a mapping with exactly the fields of a dataclass."""
    names = {f.name for f in fields(kind)}
    if not isinstance(data, dict) or set(data) != names:
        raise UserError(f"{what} must be a mapping with the fields {', '.join(sorted(names))}")
    return data


def _numbers(data: object, name: str) -> dict[str, Any]:
    good = isinstance(data, Mapping) and all(
        isinstance(key, str)
        and isinstance(n, int | float)
        and not isinstance(n, bool)
        and 0 <= n <= sys.float_info.max
        for key, n in data.items()
    )
    _check(good, name, data, "a mapping of names to numbers of at least 0")
    assert isinstance(data, Mapping)
    return dict(data)


def _is_count(n: object) -> bool:
    return isinstance(n, int) and not isinstance(n, bool) and n > 0


def _check(good: bool, name: str, value: object, rule: str) -> None:
    if not good:
        raise UserError(f"`{name}` (={shown(value)}) must be {rule}")


DEVICES: tuple[str, ...] = tuple(sorted(p.stem.replace("_", "/") for p in DATA.glob("*.yaml")))
"""Keys of every device shipped, from the names of the files alone."""


def device(name: str) -> Device:
    """The device of a key such as ``raspberry-pi-4/ncnn/1``, or of one's own device file.

    Read when first asked for, a file again when it has changed.

    Args:
        name: One of ``DEVICES``, or the path of a ``.yaml`` file.

    Raises:
        UnknownName: no such device; the message names those like it.
        UserError: the file cannot be read or is broken.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).resolve()
        return _read(path, path.stat().st_mtime_ns if path.is_file() else 0)
    return _shipped(name)


@cache
def _shipped(key: str) -> Device:
    if key not in DEVICES:
        raise UnknownName("device", key, DEVICES, "`search latency devices`")
    return load_device(DATA / f"{key.replace('/', '_')}.yaml")


@cache
def _read(path: Path, written_ns: int) -> Device:
    """One object for each state of a file: prices are remembered by device."""
    return load_device(path)
