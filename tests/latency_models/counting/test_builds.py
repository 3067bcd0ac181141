"""The builds of runtimes, and the names of their files."""

from latency_models.counting.builds import BUILDS, DATA
from latency_models.emulator import CORES
from search_space.gathering import GATHERING


def test_every_build_has_its_own_files_and_a_core_that_is_emulated() -> None:
    assert len({b.name for b in BUILDS}) == len({(b.runtime, b.precision) for b in BUILDS})
    for build in BUILDS:
        assert build.core in CORES
        assert build.counts == DATA / f"{build.runtime}-{build.precision}.csv"
        assert build.model == build.counts.with_suffix(".yaml")


def test_what_is_counted_is_lowered_as_it_is_exported() -> None:
    assert {b.runtime for b in BUILDS} == set(GATHERING)


def test_half_precision_has_a_core_that_computes_in_it_and_registers_of_eight() -> None:
    half = [b for b in BUILDS if b.precision == "fp16"]
    assert half
    assert all((b.core, b.lanes) == ("cortex-a76", 8) for b in half)
