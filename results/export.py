"""Exporting a network: a folder with its files, a card, and the proof that they agree.

::

    architecture.yaml      the network
    weights.safetensors    its tensors, in the form that they were given in; else condensed
    model.*                one or more per format
    labels.txt             the names of the classes, a line each, where they have names
    card.md                for people
    verification.json      for machines
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.card import card
from results.formats import FORMATS, ExportOptions
from results.verify import TORCH_FORMS, Verification, verify_folder, write_files
from results.weights import are_trained
from search_space.errors import UnknownName, UserError
from search_space.lowering import LOWERINGS
from search_space.reading import parse_json

if TYPE_CHECKING:
    from search_space.network import Network


LABELS = "labels.txt"
VERIFICATION = "verification.json"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the weights of a network come from.

    Attributes:
        words: The same in words.
        trained: Whether they are trained.
        class_names: In the order of the outputs; none where the classes have no names.
    """

    words: str
    trained: bool
    class_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, file: Path) -> Origin:
        """Of the weights in a file: what the training or the export beside it says of them. Without
        one the words are the file's name, and there are no names."""
        words, names = file.name, tuple[str, ...]()
        with suppress(OSError, UnicodeDecodeError, UserError, LookupError, TypeError):
            text = (file.parent / VERIFICATION).read_text(encoding="utf-8")
            words = str(parse_json(text)["weights"])
        with suppress(OSError, UnicodeDecodeError):
            names = tuple((file.parent / LABELS).read_text(encoding="utf-8").splitlines())
        return cls(words=words, trained=are_trained(file), class_names=names)


def must_be_empty(out: Path) -> None:
    """Raises UserError where something stands in the way of an export."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; choose another --out")


def export(
    network: Network,
    out: Path,
    formats: Sequence[str],
    *,
    origin: Origin,
    options: ExportOptions | None = None,
) -> Verification:
    """Writes a network in several formats and compares them with it.

    The folder appears when all is written and verified, or not at all.

    Args:
        network: Masked at the end of its schedule, or condensed; in evaluation mode.
        out: The folder; must not exist or be empty.
        formats: Keys of ``FORMATS``.
        origin: Where its weights come from.
        options: How files are written.

    Raises:
        Mismatch: a form computes something else.
        UserError: the folder is not empty or cannot be written, a format is unknown or its
            library missing.
    """
    check_formats(formats, options or ExportOptions())
    must_be_empty(out)
    with staged(out) as folder:
        verification = _write(network, folder, formats, origin, options or ExportOptions())
        folder.replace(out.resolve())
    return verification


def export_into(
    network: Network,
    out: Path,
    formats: Sequence[str],
    *,
    origin: Origin,
    options: ExportOptions | None = None,
) -> Verification:
    """The same into a folder that holds other files, too; those of these names are replaced.

    Raises:
        Mismatch: a form computes something else; nothing is written then.
        UserError: see :func:`export`.
    """
    check_formats(formats, options or ExportOptions())
    with staged(out) as folder:
        verification = _write(network, folder, formats, origin, options or ExportOptions())
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
    origin: Origin,
    options: ExportOptions,
) -> Verification:
    began = time.perf_counter()
    write_files(network, folder, formats, options, trained=origin.trained)
    verification = verify_folder(
        network,
        folder,
        (*TORCH_FORMS, *dict.fromkeys(("state_dict", *formats))),
        weights=origin.words,
        exporter=options.exporter if "onnx" in formats else "",
        began=began,
    )
    verification.check()
    if origin.class_names:
        names = "".join(f"{name}\n" for name in origin.class_names)
        (folder / LABELS).write_text(names, encoding="utf-8")
    text = json.dumps(verification.to_dict(), indent=2)
    (folder / VERIFICATION).write_text(text + "\n", encoding="utf-8")
    labels = LABELS if origin.class_names else None
    text = card(
        network, formats, verification, trained=origin.trained, labels=labels, options=options
    )
    (folder / "card.md").write_text(text, encoding="utf-8")
    return verification
