"""From files of weights to pictures of what layers read and update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.arguments import WEIGHTS
from search_space.errors import UserError

if TYPE_CHECKING:
    from search_space import NetworkSpec
    from search_space.connections import Connections

KEPT = "explain-kept.csv"
"""Which features each filter group kept."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What was made of weights.

    Attributes:
        files: By what the weights are called.
        connections: Likewise.
        written: Pictures, and a table of what was kept.
        untrained: What those weights are called that nobody trained.
        missing: Why there is nothing, where there is nothing.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    connections: Mapping[str, Connections] = field(default_factory=dict)
    written: Sequence[Path] = ()
    untrained: Sequence[str] = ()
    missing: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for machines."""
        from results.reuse_tables import kept, updated

        weights = [
            {
                "name": name,
                "file": str(self.files[name]),
                "trained": name not in self.untrained,
                "kept": [asdict(row) for row in kept(found)],
                "reactivated": [asdict(row) for row in updated(found)],
            }
            for name, found in self.connections.items()
        ]
        return {"weights": weights, "written": [str(path) for path in self.written]}


def can_be_drawn(spec: NetworkSpec) -> bool:
    """Whether any stage concatenates: of a sum the parts cannot be told apart (SparseNet, 3.1)."""
    return any(stage.kind != "residual" for stage in spec.stages)


def draw(spec: NetworkSpec, named: Sequence[Path], folder: Path) -> Drawn:
    """Writes pictures of weights, side by side, and which features they kept.

    Args:
        spec: The network.
        named: Files of its weights, or folders that hold one.
        folder: Is made where there is none.

    Raises:
        UserError: weights are not of the network, or the folder cannot be written.
    """
    from results.reuse_figure import draw_pictures
    from results.reuse_tables import kept_frame
    from results.weights import are_trained, load_weights
    from search_space.connections import connections

    files = _called([path / WEIGHTS if path.is_dir() else path for path in named])
    found = {name: connections(load_weights(spec, file)) for name, file in files.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = draw_pictures(found, folder)
        kept_frame(found).to_csv(folder / KEPT, index=False)
    except OSError as error:
        raise UserError(f"the pictures' folder {folder} cannot be written: {error}") from None
    return Drawn(
        files=files,
        connections=found,
        written=[*written, folder / KEPT],
        untrained=[name for name, file in files.items() if not are_trained(file)],
    )


def _called(files: Sequence[Path]) -> dict[str, Path]:
    """Each file once, by a short name where that tells it from the others."""
    files = list(dict.fromkeys(files))
    short = [f.resolve().parent.name if f.name == WEIGHTS else f.stem for f in files]
    return {
        name if short.count(name) == 1 else str(file): file
        for name, file in zip(short, files, strict=True)
    }
