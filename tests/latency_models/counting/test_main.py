"""The command that measures and fits, on tables written here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from latency_models.counting import __main__ as command
from latency_models.counting.__main__ import VERSIONS, main
from latency_models.counting.builds import BUILDS, RuntimeBuild
from latency_models.counting.designed import designed
from latency_models.counting.fitting import observed
from latency_models.counting.measure import read_table, write_table
from latency_models.counting.model import load_counters
from latency_models.emulator import Counts, Emulator
from latency_models.kernels import Kernel

KERNELS = [k for k in designed() if k.kind in ("pointwise", "shuffle")]


@pytest.fixture
def tables(tmp_path: Path, law: Callable[[Kernel], Counts]) -> Path:
    (tmp_path / VERSIONS).write_text('{"ncnn": "1.0"}', encoding="utf-8")
    for build in BUILDS:
        write_table([(k, law(k)) for k in KERNELS], tmp_path / build.counts.name)
    return tmp_path


def test_every_build_is_fitted_twice_alike(
    tables: Path, law: Callable[[Kernel], Counts], capsys: pytest.CaptureFixture[str]
) -> None:
    written = []
    for _ in range(2):
        main(["--out", str(tables)])
        written.append([(tables / b.model.name).read_bytes() for b in BUILDS])
    assert written[0] == written[1]
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in printed[: len(BUILDS)]] == [
        [b.name, str(len(KERNELS))] for b in BUILDS
    ]
    for build in BUILDS:
        model = load_counters(tables / build.model.name)
        assert (model.runtime, model.precision, model.lanes) == (
            build.runtime,
            build.precision,
            build.lanes,
        )
        assert model.versions == {"ncnn": "1.0"}
        counts = model.counts(KERNELS[0])
        assert counts is not None
        assert counts[:2] == pytest.approx(observed(law(KERNELS[0]))[:2], rel=0.01)


def test_one_build_alone_is_fitted(tables: Path) -> None:
    main(["--out", str(tables), "--build", BUILDS[0].name])
    assert [path.name for path in tables.glob("*.yaml")] == [BUILDS[0].model.name]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "No such file"),
        (("--arm", "nowhere"), "make one with scripts/setup_arm nowhere"),
        (("--build", "none"), "invalid choice: 'none'"),
    ],
)
def test_what_cannot_be_read_ends_in_a_sentence(
    arguments: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--out", str(tmp_path / "empty"), *arguments])
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_what_is_measured_is_written_with_the_versions_that_ran(
    tmp_path: Path, law: Callable[[Kernel], Counts], monkeypatch: pytest.MonkeyPatch
) -> None:
    arm, out = tmp_path / "arm", tmp_path / "out"
    arm.mkdir()
    for name in ("ra.sh", "libarm_counts.so"):
        (arm / name).touch()
    made = {"qemu": "7", "ncnn": "1.0", "mirror": "http://example.org"}
    (arm / VERSIONS).write_text(json.dumps(made), encoding="utf-8")

    def count_kernels(
        kernels: list[Kernel], build: RuntimeBuild, emulator: Emulator
    ) -> list[Counts]:
        assert emulator.directory == arm
        return [law(kernel) for kernel in kernels]

    monkeypatch.setattr(command, "designed", lambda: iter(KERNELS))
    monkeypatch.setattr(command, "count_kernels", count_kernels)
    build = BUILDS[0]
    main(["--arm", str(arm), "--out", str(out), "--build", build.name])
    assert read_table(out / build.counts.name) == [(k, law(k)) for k in KERNELS]
    versions = load_counters(out / build.model.name).versions
    assert versions == {"qemu": "7", "ncnn": "1.0"}
    # Without the emulator the same tables give the same file.
    before = (out / build.model.name).read_bytes()
    main(["--out", str(out), "--build", build.name])
    assert (out / build.model.name).read_bytes() == before
