"""The builds of runtimes whose kernels are counted, and the cores that they run on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, kw_only=True)
class RuntimeBuild:
    """A runtime as it computes on a kind of core.

    Attributes:
        runtime: ``ncnn`` or ``onnxruntime``.
        precision: ``fp32``, or ``fp16`` where it computes float networks in half precision.
        core: The emulated core: a name of :data:`latency_models.emulator.CORES`.
        lanes: Channels that the runtime stores side by side; 1 if it stores them one by one.
    """

    runtime: str
    precision: str
    core: str
    lanes: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.runtime}-{self.precision}"

    @property
    def counts(self) -> Path:
        """The table of measured kernels."""
        return DATA / f"{self.name}.csv"

    @property
    def model(self) -> Path:
        """What was fitted to it."""
        return DATA / f"{self.name}.yaml"


BUILDS = (
    RuntimeBuild(runtime="ncnn", precision="fp32", core="cortex-a72", lanes=4),
    RuntimeBuild(runtime="ncnn", precision="fp16", core="cortex-a76", lanes=8),
    RuntimeBuild(runtime="onnxruntime", precision="fp32", core="cortex-a72", lanes=1),
)
