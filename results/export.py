"""Exporting a network: a folder with its files, a card, and the proof that they agree.

::

    architecture.yaml      the network
    weights.safetensors    its tensors, in the form that they were given in; else condensed
    model.*                one or more per format
    card.md                for people
    verification.json      for machines
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from results.card import card
from results.formats import FORMATS, ExportOptions
from results.verify import TORCH_FORMS, Verification, verify_folder, write_files
from search_space.errors import UnknownName, UserError
from search_space.lowering import LOWERINGS

if TYPE_CHECKING:
    from search_space.network import Network


def must_be_empty(out: Path) -> None:
    """Raises UserError where something stands in the way of an export."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; choose another --out")


def export(
    network: Network,
    out: Path,
    formats: Sequence[str],
    *,
    weights: str,
    trained: bool,
    options: ExportOptions | None = None,
) -> Verification:
    """Writes a network in several formats and compares them with it.

    The folder appears when all is written and verified, or not at all.

    Args:
        network: Masked at the end of its schedule, or condensed; in evaluation mode.
        out: The folder; must not exist or be empty.
        formats: Keys of ``FORMATS``.
        weights: Where the weights come from, in words.
        trained: Whether they are trained.
        options: How files are written.

    Raises:
        Mismatch: a form computes something else.
        UserError: the folder is not empty or cannot be written, a format is unknown or its
            library missing.
    """
    check_formats(formats, options or ExportOptions())
    must_be_empty(out)
    with staged(out) as folder:
        verification = _write(
            network, folder, formats, weights=weights, trained=trained, options=options
        )
        folder.replace(out.resolve())
    return verification


def export_into(
    network: Network,
    out: Path,
    formats: Sequence[str],
    *,
    weights: str,
    trained: bool,
    options: ExportOptions | None = None,
) -> Verification:
    """The same into a folder that holds other files, too; those of these names are replaced.

    Raises:
        Mismatch: a form computes something else; nothing is written then.
        UserError: see :func:`export`.
    """
    check_formats(formats, options or ExportOptions())
    with staged(out) as folder:
        verification = _write(
            network, folder, formats, weights=weights, trained=trained, options=options
        )
        for file in folder.iterdir():
            file.replace(out / file.name)
    return verification


def check_formats(formats: Sequence[str], options: ExportOptions) -> None:
    """Raises UnknownName where a format or a lowering is none."""
    for format in formats:
        if format not in FORMATS:
            raise UnknownName("format", format, FORMATS)
    if options.lowering is not None and options.lowering not in LOWERINGS:
        raise UnknownName("lowering", options.lowering, LOWERINGS)


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder beside another one, gone at the end."""
    out = out.resolve()
    unfinished = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
    except OSError as error:
        raise UserError(f"the folder {out} cannot be written: {error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(
    network: Network,
    folder: Path,
    formats: Sequence[str],
    *,
    weights: str,
    trained: bool,
    options: ExportOptions | None,
) -> Verification:
    began = time.perf_counter()
    options = options or ExportOptions()
    write_files(network, folder, formats, options, trained=trained)
    verification = verify_folder(
        network,
        folder,
        (*TORCH_FORMS, *dict.fromkeys(("state_dict", *formats))),
        weights=weights,
        exporter=options.exporter if "onnx" in formats else "",
        began=began,
    )
    verification.check()
    text = json.dumps(verification.to_dict(), indent=2)
    (folder / "verification.json").write_text(text + "\n", encoding="utf-8")
    (folder / "card.md").write_text(
        card(network, formats, verification, trained=trained, options=options), encoding="utf-8"
    )
    return verification
