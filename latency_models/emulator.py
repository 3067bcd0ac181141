"""What a program executes on an emulated 64-bit ARM core, counted: no time, and no measurement.

The folder that ``scripts/setup_arm`` makes holds the emulator, a Python with onnxruntime and ncnn,
and the counting plugin (``tools/arm_counts``), a separate program that writes lines of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from search_space.errors import UnknownName, UserError

STARTER = "ra.sh"
"""Runs Python inside the folder: ``ra.sh SCRIPT ARGUMENTS``."""
PLUGIN = "libarm_counts.so"
LINE_BYTES = 64
"""Bytes of a line of each cache, as the plugin has them."""
_KINDS = (
    *("integer", "branch", "load", "store", "fma32", "fma16"),
    *("vector", "scalar_float", "other"),
)
_STDERR_LINES = 5


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What was executed: instructions by kind, bytes moved and lines that caches lacked.

    Each instruction has one kind. A pair of counts differs by what ran in between.

    Attributes:
        integer: Data processing on general registers.
        branch: Branches, and system instructions.
        load: Loads; prefetches, and atomic instructions that store, too, are loads.
        store: Stores.
        fma32: Vector multiply-adds (FMLA) of single precision, also by element.
        fma16: Those of half precision.
        vector: All other vector instructions, such as FMLS.
        scalar_float: Floating point outside vectors.
        other: None of these.
        load_bytes: Bytes that loads move to registers.
        store_bytes: Bytes that stores move to memory.
        l1_misses: Lines looked for in the first level of cache and not found.
        l2_misses: Of these, not found in the second level.
        l3_misses: Of these, not found in the third level.
    """

    integer: int
    branch: int
    load: int
    store: int
    fma32: int
    fma16: int
    vector: int
    scalar_float: int
    other: int
    load_bytes: int
    store_bytes: int
    l1_misses: int
    l2_misses: int
    l3_misses: int

    @property
    def instructions(self) -> int:
        """Instructions of all kinds."""
        return sum(getattr(self, kind) for kind in _KINDS)

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in _FIELDS})

    def __sub__(self, other: Counts) -> Counts:
        return Counts(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in _FIELDS})


_FIELDS = fields(Counts)


@dataclass(frozen=True, kw_only=True)
class Cache:
    """One level of cache, whose sets give up the line that was not used for longest.

    Raises:
        UserError: the lines do not fill whole sets.
    """

    size_kib: int
    ways: int

    def __post_init__(self) -> None:
        lines = self.size_kib * 1024 // LINE_BYTES
        if self.size_kib < 1 or self.ways < 1 or lines % self.ways:
            raise UserError(
                f"a cache of {self.size_kib} KiB in {self.ways} ways has no whole sets of"
                f" {LINE_BYTES}-byte lines; take a positive size and ways that divide {lines}"
            )


@dataclass(frozen=True, kw_only=True)
class Caches:
    """The data caches that an access goes through, nearest first."""

    l1: Cache
    l2: Cache
    l3: Cache


CORES: Mapping[str, Caches] = {
    "cortex-a72": Caches(
        l1=Cache(size_kib=32, ways=4),
        l2=Cache(size_kib=512, ways=16),
        l3=Cache(size_kib=2048, ways=16),
    ),
    "cortex-a76": Caches(
        l1=Cache(size_kib=64, ways=4),
        l2=Cache(size_kib=512, ways=8),
        l3=Cache(size_kib=2048, ways=16),
    ),
}
"""Cores that are emulated, with the caches assumed for them. Programs see from the core which
instructions there are: of these two, cortex-a76 alone has half-precision arithmetic."""


@dataclass(frozen=True)
class Emulator:
    """Runs Python scripts on an emulated core and counts.

    Equal runs give equal counts as long as the script runs in one thread.

    Args:
        directory: The folder that ``scripts/setup_arm`` made.

    Raises:
        UserError: it is none.
    """

    directory: Path

    def __post_init__(self) -> None:
        missing = [name for name in (STARTER, PLUGIN) if not (self.directory / name).is_file()]
        if missing:
            raise UserError(
                f"{self.directory} is no emulated ARM core that counts: it lacks"
                f" {', '.join(missing)}; make one with scripts/setup_arm {self.directory}"
            )

    def run(
        self,
        script: Path,
        *arguments: str | Path,
        core: str = "cortex-a72",
        caches: Caches | None = None,
        folder: Path | None = None,
    ) -> list[tuple[int, Counts]]:
        """What was executed up to each mark, in the order of the marks, with its tag.

        The script marks a moment by ``ctypes.CDLL(None).syscall(5555, tag)``. Counts grow from
        mark to mark: their differences are of interest. The caches are empty at the first.

        Args:
            script: A Python script that runs in one thread.
            arguments: What it finds in ``sys.argv[1:]``.
            core: A name in ``CORES``.
            caches: Other caches than those of the core.
            folder: Where it runs; paths may be relative to it. What a script is called with lies in
                its memory: longer paths move everything behind them, and counts with it.

        Raises:
            UnknownName: of the core.
            UserError: the script fails or marks nothing; the message ends with what it wrote last.
        """
        if core not in CORES:
            raise UnknownName("core", core, CORES)
        with tempfile.TemporaryDirectory() as scratch:
            counted = Path(scratch) / "counts.jsonl"
            done = subprocess.run(
                [self.directory.resolve() / STARTER, script, *arguments],
                env=os.environ | {"CPU": core, "PLUGIN": _plugin(counted, caches or CORES[core])},
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            marks = parse(counted.read_text(encoding="utf-8")) if counted.is_file() else []
        if done.returncode or not marks:
            raise UserError(_failure(script, core, done))
        return marks


def parse(text: str) -> list[tuple[int, Counts]]:
    """Tags and counts of the plugin's lines."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line.pop("tag"), Counts(**line)) for line in lines]


def _plugin(out: Path, caches: Caches) -> str:
    levels = {"l1": caches.l1, "l2": caches.l2, "l3": caches.l3}
    sizes = [f"{name}={level.size_kib}:{level.ways}" for name, level in levels.items()]
    return ",".join([f"out={out}", *sizes])


def _failure(script: Path, core: str, done: subprocess.CompletedProcess[str]) -> str:
    last = "\n".join(done.stderr.strip().splitlines()[-_STDERR_LINES:]) or "nothing"
    if done.returncode:
        return (
            f"{script} on {core} ended with exit status {done.returncode}; it wrote last:\n{last}"
        )
    return (
        f"{script} on {core} marked nothing; it must call ctypes.CDLL(None).syscall(5555, tag) at"
        f" least once; it wrote last:\n{last}"
    )
