"""What is known of each device: prices of kernels, where they come from, how wrong they are.

One YAML file per key in ``latency_models/data``, written by :mod:`latency_models.fit`. A device is
a board with a runtime and a number of threads: a number without its runtime is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from search_space.errors import UnknownName, UserError

DATA = Path(__file__).parent / "data"


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

    @property
    def key(self) -> str:
        """``board/runtime/threads``."""
        return f"{self.board}/{self.runtime}/{self.threads}"

    @property
    def file_name(self) -> str:
        """The file that holds the device."""
        return f"{self.board}_{self.runtime}_{self.threads}.yaml"

    def to_yaml(self) -> str:
        """The form that :func:`load_device` reads; the same device gives the same bytes."""
        data: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        data |= {
            "weights": dict(self.weights),
            "measured_kinds": dict(self.measured_kinds),
            "networks": list(self.networks),
            "macs_range": list(self.macs_range),
            "error": asdict(self.error),
        }
        return yaml.safe_dump(data, sort_keys=False, width=98)


def load_device(path: Path) -> Device:
    """Reads a device file.

    Raises:
        UserError: the file cannot be read or breaks a rule; the message names file and rule.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"device file {path}: cannot be read: {reason}") from None
    try:
        return _parse(data)
    except UserError as error:
        raise UserError(f"device file {path}: {error}; write it anew with the fit") from None


def _parse(data: object) -> Device:
    values = dict(_record(data, Device, "the file"))
    for name in ("board", "runtime", "precision", "core", "source", "licence", "note"):
        _check(isinstance(values[name], str), name, values[name], "text")
    _check(_is_count(values["threads"]), "threads", values["threads"], "a whole number above 0")
    values["weights"] = _numbers(values["weights"], "weights")
    values["measured_kinds"] = _numbers(values["measured_kinds"], "measured_kinds")
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
        and math.isfinite(n)
        and n >= 0
        for key, n in data.items()
    )
    _check(good, name, data, "a mapping of names to numbers of at least 0")
    assert isinstance(data, Mapping)
    return dict(data)


def _is_count(n: object) -> bool:
    return isinstance(n, int) and not isinstance(n, bool) and n > 0


def _check(good: bool, name: str, value: object, rule: str) -> None:
    if not good:
        raise UserError(f"`{name}` (={value!r:.60}) must be {rule}")


DEVICES: tuple[str, ...] = tuple(sorted(p.stem.replace("_", "/") for p in DATA.glob("*.yaml")))
"""Keys of every device shipped, from the names of the files alone."""


@cache
def device(key: str) -> Device:
    """The device of a key such as ``raspberry-pi-4/ncnn/1``, read when first asked for.

    Raises:
        UnknownName: no such device; the message names those like it.
        UserError: its file is broken.
    """
    if key not in DEVICES:
        raise UnknownName("device", key, DEVICES, "`search latency devices`")
    return load_device(DATA / f"{key.replace('/', '_')}.yaml")
