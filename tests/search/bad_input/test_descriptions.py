"""Files that people write: networks, search spaces, devices and recipes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from latency_models import DEFAULT_DEVICE, device

MANY = ", ".join(["*{}"] * 10)
BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{MANY.format(*[old] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
"""A billion words in a few lines, each a list of ten times the list before."""

NO_YAML: dict[str, tuple[bytes, str]] = {
    "open": (b"a: [1", "not YAML"),
    "tab": (b"\t- x", "not YAML"),
    "deep": (b"[" * 3000, "nested too deeply"),
    "binary": (bytes(range(256)), "cannot be read"),
    "latin": (b"\xff\xfea", "cannot be read"),
    "python-object": (b"!!python/object/apply:os.mkdir [made]", "python/object/apply"),
    "python-name": (b"name: !!python/name:os.system", "python/name"),
    "two-documents": (b"a: 1\n---\nb: 2", "expected a single document"),
    "twice": (b"name: x\nname: y", "the key 'name' stands twice"),
    "list-as-key": (b"{[1]: 2}", "unhashable key"),
    "no-date": (b"name: 2026-13-45", "month must be in 1..12"),
    "no-alias": (b"name: *nobody", "undefined alias"),
}
READERS = {
    "network": ["cost"],
    "space": ["space", "profile", "--space"],
    "device": ["cost", "NET", "--device"],
    "recipe": ["train", "NET", "--out", "out", "--recipe"],
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", NO_YAML)
def test_what_is_no_yaml(
    reader: str, case: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    content, words = NO_YAML[case]
    (tmp_path / "fühler.yaml").write_bytes(content)
    refused([*READERS[reader], "fühler.yaml"], "fühler.yaml", words)
    assert not (tmp_path / "made").exists(), "no code of the file is run"


NO_FIELDS = {"empty": "", "word": "hello", "list": "[1]", "loop": "&a [*a]", "bomb": BOMB}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", NO_FIELDS)
def test_what_is_yaml_and_no_description(
    reader: str, case: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "x.yaml").write_text(NO_FIELDS[case], encoding="utf-8")
    said = refused([*READERS[reader], "x.yaml"], "x.yaml")
    assert len(said) < 1500, "the message does not repeat what the file holds"


@pytest.mark.parametrize("reader", READERS)
def test_files_that_are_none(reader: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    (tmp_path / "folder.yaml").mkdir()
    refused([*READERS[reader], "missing.yaml"], "missing.yaml", "No such file")
    refused([*READERS[reader], "folder.yaml"], "folder.yaml")
    refused([*READERS[reader], f"{'x' * 300}.yaml"], "File name too long")


NO_JSON = {
    "cut": ('{"image_size": 8', "not JSON"),
    "empty": ("", "not JSON"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "digits": (f'{{"image_size": {"9" * 5000}}}', "not JSON"),
    "nan": ('{"image_size": NaN, "stages": []}', "lacks the field `classes`"),
    "twice": ('{"classes": 2, "classes": 3}', "the key 'classes' stands twice"),
    "list": ("[]", "must be a mapping"),
}


@pytest.mark.parametrize("case", NO_JSON)
def test_what_is_no_json(case: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    text, words = NO_JSON[case]
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    refused(["cost", "x.json"], "x.json", words)


def _changed(data: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    """The data with another value at ``a.0.b``; without it where that is a KeyError."""
    data = copy.deepcopy(data)
    inner: Any = data
    *outer, last = [int(key) if key.isdecimal() else key for key in where.split(".")]
    for key in outer:
        inner = inner[key]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return data


NETWORK: list[tuple[str, Any, str]] = [
    ("format", 2, "`format` (=2) must be 1, the version read here"),
    ("format", "1", "`format` (='1') must be 1"),
    ("image_size", 0, "`image_size` (=0) must be a whole number of at least 1"),
    ("image_size", 8.0, "`image_size` (=8.0) must be a whole number"),
    ("image_size", True, "`image_size` (=True) must be a whole number"),
    ("image_size", None, "`image_size` (=None) must be a whole number"),
    ("image_size", 10**9, "`image_size` (=1000000000) must be at most 1,000,000"),
    ("image_size", 16**5000, "`image_size` (=a number of 20001 bits) must be at most"),
    ("image_size", 1, "`image_size` (=1) leaves"),
    ("image_channels", 0, "`image_channels` (=0) must be a whole number"),
    ("classes", "ten", "`classes` (='ten') must be a whole number"),
    ("classes", 10**9, "`classes` (=1000000000) must be at most"),
    ("classes", KeyError, "lacks the field `classes`"),
    ("flavour", 1, "has no field `flavour`; its fields: "),
    ("stages", [], "`stages` must hold at least one stage"),
    ("stages", {}, "`stages` (={}) must be a list"),
    ("stages", [None], "stage 1 must be a mapping of field names"),
    ("stages", [{"depth": 400, "growth_rate": 4}] * 3, "(=1200) must come to at most 1,000"),
    ("stem", None, "`stem` must be a mapping"),
    ("stem", {}, "`stem` lacks the field `channels`"),
    ("stem.channels", -4, "`channels` (=-4) must be a whole number"),
    ("stem.kernel", 2, "`kernel` (=2) must be odd"),
    ("stem.activation", [1], "`activation` (=[1]) must be one of relu"),
    ("stem.pooled", "yes", "`pooled` (='yes') must be true or false"),
    ("stages.0.block", "magic", "`block` (='magic') must be one of dense"),
    ("stages.0.depth", 0, "`depth` (=0) must be a whole number of at least 1"),
    ("stages.0.depth", 10**12, "`depth` (=1000000000000) must be at most 1,000"),
    ("stages.0.depth", KeyError, "lacks the field `depth`"),
    ("stages.0.growth_rate", 6, "`growth_rate` (=6) must be divisible by `groups_3x3` (=4)"),
    ("stages.0.groups_1x1", 3, "must be divisible by `groups_1x1` (=3)"),
    ("stages.0.condense_factor", 1000, "`condense_factor` (=1000)"),
    ("stages.0.sfr", "last-0", "`sfr` (='last-0') must be none, all, last-N"),
    ("stages.0.fetch", [], "`fetch` (=[]) must be one of dense"),
    ("stages.0.fetch_base", 1, "`fetch_base` (=1) must be a whole number of at least 2"),
    ("transition.compression", 0, "`compression` (=0) must be in (0, 1]"),
    ("transition.compression", float("nan"), "`compression` (=nan) must be in (0, 1]"),
    ("transition.kind", "tunnel", "`kind` (='tunnel') must be one of pool"),
    ("head.grid", 99, "`grid` (=99) of the head must be at most"),
    ("head.condense_at", "noon", "`condense_at` (='noon') must be one of training"),
    ("head.features", -1, "`features` (=-1) must be a whole number of at least 0"),
]
SPACE: list[tuple[str, Any, str]] = [
    ("name", "", "`name` (='') must be a text"),
    ("image_size", 1, "`image_size` (=1) leaves"),
    ("stem_kernel", 2, "`stem_kernel` (=2) must be odd"),
    ("depths", [], "`depths` (=[]) must be a list of choices per stage"),
    ("depths", [[1]], "`depths` (of 1 stages) and `growth_rates`"),
    ("depths", [[10**6], [1]], "whole numbers of at least 1, at most 1,000"),
    ("depths", KeyError, "a search space must be complete"),
    ("growth_rates", [[4.5], [4]], "must hold whole numbers of at least 1"),
    ("growth_rates", [[10**12], [4]], "at most 1,000,000, not 1000000000000"),
    ("groups", [], "`groups` (=[]) must be a list of at least one choice"),
    ("groups", [*range(1, 999)], "`groups` (of 998 choices) must hold at most 256"),
    ("groups", [2, 2], "must not hold a choice twice"),
    ("sfr", ["often"], "must hold none, all, last-N or every-N, not 'often'"),
    ("fetches", ["exponential-1"], "must hold dense or exponential-C"),
    ("transitions", ["conv-2"], "must hold pool or conv-X"),
    ("flavour", 1, "a search space has no field `flavour`"),
]
DEVICE: list[tuple[str, Any, str]] = [
    ("board", None, "`board` (=None) must be text"),
    ("board", "", "`board` (='') must be a name"),
    ("threads", 0, "`threads` (=0) must be a whole number above 0"),
    ("weights", {}, "`weights` (={}) must be prices, one at least"),
    ("weights", {"a": -1}, "`weights` (={'a': -1}) must be a mapping of names to numbers"),
    ("weights", {"a": float("nan")}, "`weights` (={'a': nan}) must be"),
    ("networks", "many", "`networks` (='many') must be a list of names"),
    ("macs_range", [2, 1], "`macs_range` (=[2, 1]) must be the least and the largest"),
    ("error", {}, "`error` must be a mapping with the fields"),
    ("flavour", 1, "must be a mapping with the fields"),
]
RECIPE: list[tuple[str, Any, str]] = [
    ("name", KeyError, "lacks `name`"),
    ("epochs", 16**5000, "`epochs` (=a number of 20001 bits) must be a whole number"),
    ("learning_rate", float("nan"), "`learning_rate` (=nan) must be positive"),
    ("learning_rate", 16**5000, "`learning_rate` (=a number of 20001 bits)"),
    ("milestones", 5, "`milestones` (=5) must be shares"),
    ("schedule", [1], "`schedule` (=[1]) must be one of cosine"),
    ("augment", "magic", "unknown augmentation 'magic'; known: "),
    ("flavour", 1, "has the unknown setting 'flavour'"),
]
RULES = [
    *(("network", *rule) for rule in NETWORK),
    *(("space", *rule) for rule in SPACE),
    *(("device", *rule) for rule in DEVICE),
    *(("recipe", *rule) for rule in RECIPE),
]


@pytest.mark.parametrize(
    ("reader", "where", "value", "words"),
    RULES,
    ids=[f"{r}-{i}" for i, (r, *_) in enumerate(RULES)],
)
def test_a_field_that_breaks_a_rule(
    reader: str,
    where: str,
    value: Any,
    words: str,
    tmp_path: Path,
    tiny_file: Path,
    space_file: Path,
    refused: Callable[..., str],
) -> None:
    good: dict[str, Callable[[], Any]] = {
        "network": lambda: yaml.safe_load(tiny_file.read_text(encoding="utf-8")),
        "space": lambda: yaml.safe_load(space_file.read_text(encoding="utf-8")),
        "device": lambda: device(DEFAULT_DEVICE).to_dict(),
        "recipe": lambda: {"name": "mine", "epochs": 3},
    }
    huge = isinstance(value, int) and value == 16**5000
    data = _changed(good[reader](), where, "HUGE" if huge else value)
    text = yaml.safe_dump(data).replace("HUGE", f"0x1{'0' * 5000}")
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    refused([*READERS[reader], "x.yaml"], words)
