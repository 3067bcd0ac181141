from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from latency_models.emulator import CORES, Cache, Caches, Counts, Emulator, parse
from search_space.errors import UnknownName, UserError

Make = Callable[[str], Emulator]
NAMES = [field.name for field in fields(Counts)]
FIRST = Counts(**{name: 10 + at for at, name in enumerate(NAMES)})
SECOND = Counts(**{name: 20 + 3 * at for at, name in enumerate(NAMES)})
SCRIPT = """\
import ctypes, sys
import numpy as np
mark = ctypes.CDLL(None).syscall
side = int(sys.argv[1])
left, right = np.ones((2, side, side), np.float32)
for tag in range(4):
    mark(5555, tag)
    left @ right
"""


def line(tag: int, counts: Counts) -> str:
    return json.dumps({"tag": tag, **asdict(counts)})


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A folder that looks like an emulator, whose starter runs some lines of shell."""

    def made(body: str) -> Emulator:
        (tmp_path / "libarm_counts.so").touch()
        starter = tmp_path / "ra.sh"
        starter.write_text(f"#!/bin/sh\nout=${{PLUGIN#out=}} out=${{out%%,*}}\n{body}\n")
        starter.chmod(0o755)
        return Emulator(tmp_path)

    return made


def test_lines_are_marks_in_their_order() -> None:
    assert parse(f"{line(7, FIRST)}\n{line(3, SECOND)}\n") == [(7, FIRST), (3, SECOND)]
    assert parse("") == []


def test_instructions_have_one_kind_each() -> None:
    assert FIRST.instructions == sum(range(10, 19))  # the bytes and misses are no instructions


def test_counts_add_and_subtract() -> None:
    assert (SECOND - FIRST).integer == 10
    assert (SECOND - FIRST).l3_misses == 10 + 2 * 13
    assert (SECOND - FIRST) + FIRST == SECOND


def test_the_starter_gets_script_core_and_caches(make: Make) -> None:
    emulator = make(f"echo '{line(5, FIRST)}' >$out; echo \"$* $CPU $PLUGIN\" >$(dirname $0)/told")
    caches = Caches(
        l1=Cache(size_kib=8, ways=2), l2=Cache(size_kib=16, ways=4), l3=Cache(size_kib=32, ways=8)
    )
    told = emulator.directory / "told"
    assert emulator.run(Path("net.py"), "a", Path("b")) == [(5, FIRST)]
    assert told.read_text().startswith("net.py a b cortex-a72 out=/")
    assert told.read_text().endswith(",l1=32:4,l2=512:16,l3=2048:16\n")
    emulator.run(Path("net.py"), core="cortex-a76")
    assert told.read_text().endswith(",l1=64:4,l2=512:8,l3=2048:16\n")
    emulator.run(Path("net.py"), core="cortex-a76", caches=caches)
    assert told.read_text().endswith(",l1=8:2,l2=16:4,l3=32:8\n")


def test_a_failing_script_is_told_with_its_last_lines(make: Make) -> None:
    lines = "\\n".join(["first", *"abcd", "illegal instruction"])
    emulator = make(f"echo '{line(0, FIRST)}' >$out; printf '{lines}' >&2; exit 132")
    with pytest.raises(UserError, match=r"exit status 132(.|\n)*illegal instruction$") as caught:
        emulator.run(Path("net.py"))
    assert "first" not in str(caught.value)


def test_a_script_without_marks_is_told(make: Make) -> None:
    with pytest.raises(UserError, match="marked nothing; it must call"):
        make("touch $out").run(Path("net.py"))
    with pytest.raises(UserError, match="it wrote last:\nnothing"):
        make("exit 0").run(Path("net.py"))


def test_an_unknown_core_is_told(make: Make) -> None:
    with pytest.raises(UnknownName, match=r"unknown core 'm1'; known: cortex-a72, cortex-a76"):
        make("exit 0").run(Path("net.py"), core="m1")


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks ra\.sh, libarm_counts\.so; make one with scripts"):
        Emulator(tmp_path)


@pytest.mark.parametrize(("size_kib", "ways"), [(0, 4), (32, 0), (32, 3), (-32, 4)])
def test_caches_have_whole_sets(size_kib: int, ways: int) -> None:
    with pytest.raises(UserError, match="has no whole sets"):
        Cache(size_kib=size_kib, ways=ways)


@pytest.mark.skipif("SEARCH_ARM" not in os.environ, reason="no emulated ARM userland is named")
@pytest.mark.parametrize("core", CORES)
def test_the_emulator_counts_and_repeats_itself(core: str, tmp_path: Path) -> None:
    emulator = Emulator(Path(os.environ["SEARCH_ARM"]))
    script = tmp_path / "product.py"
    script.write_text(SCRIPT, encoding="utf-8")
    small, again, large = (emulator.run(script, side, core=core) for side in ("64", "64", "128"))
    assert small == again
    assert [tag for tag, _ in small] == [0, 1, 2, 3]
    once, twice = ((run[3][1] - run[2][1]) for run in (small, large))
    assert once.fma32 >= 64**3 // 4  # four products to an instruction
    assert twice.fma32 == 8 * once.fma32
    assert twice.instructions > once.instructions > once.fma32 + once.load
    assert once.l1_misses >= once.l2_misses >= once.l3_misses
    assert small[0][1].l1_misses == 0
