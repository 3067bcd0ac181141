"""The script that runs on boards: what it reads of a system, and how it counts."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from results import bench, bench_kit, formats
from results.bench import State, Timed, doubts, fastest_cores, figures, state, time_in_turn


@pytest.fixture
def system(tmp_path: Path) -> Callable[..., Path]:
    """A folder like ``/sys`` with a clock in MHz for each core."""

    def make(*mhz: int, governor: str = "performance", degrees: tuple[int, ...] = ()) -> Path:
        for core, clock in enumerate(mhz):
            folder = tmp_path / f"devices/system/cpu/cpu{core}/cpufreq"
            folder.mkdir(parents=True)
            (folder / "cpuinfo_max_freq").write_text(f"{clock}000\n")
            (folder / "scaling_cur_freq").write_text(f"{clock - 100}000\n")
            (folder / "scaling_governor").write_text(f"{governor}\n")
        for zone, celsius in enumerate(degrees):
            folder = tmp_path / f"class/thermal/thermal_zone{zone}"
            folder.mkdir(parents=True)
            (folder / "temp").write_text(f"{celsius}000\n")
        return tmp_path

    return make


def test_it_is_written_in_the_python_of_boards_and_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(bench.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert "numpy" in imported
    assert not imported & {"results", "search", "search_space", "latency_models", "torch"}


def test_its_files_are_those_of_the_exports() -> None:
    assert (bench.ONNX, bench.NCNN_PARAM, bench.NCNN_BIN) == (
        formats.ONNX,
        formats.NCNN_PARAM,
        formats.NCNN_BIN,
    )
    assert set(bench.RUNTIMES) == set(bench_kit.FORMAT_OF)


def test_the_fastest_cores_are_chosen_and_of_equals_the_last(system: Callable[..., Path]) -> None:
    board = system(1400, 1400, 1400, 1400, 2000, 2000)
    assert fastest_cores(1, range(6), board) == [5]
    assert fastest_cores(3, range(6), board) == [3, 4, 5]
    assert fastest_cores(1, [0, 2], board) == [2]


def test_cores_without_a_clock_are_chosen_by_number(tmp_path: Path) -> None:
    assert fastest_cores(2, range(4), tmp_path) == [2, 3]


def test_the_state_is_the_slowest_clock_and_the_hottest_sensor(
    system: Callable[..., Path],
) -> None:
    board = system(1400, 2000, governor="ondemand", degrees=(40, 55))
    assert state([0, 1], board) == State("ondemand", 1300.0, 55.0)
    assert state([1], board) == State("ondemand", 1900.0, 55.0)


def test_a_system_that_does_not_tell_leaves_cells_empty(tmp_path: Path) -> None:
    assert state([0], tmp_path) == State("", None, None)


def test_networks_run_in_turn_and_the_first_rounds_do_not_count() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in "ab"}
    timed = time_in_turn(runs, [], warm_up=1, repetitions=2)
    assert order == list("ababab")
    assert {name: len(t.times_ms) for name, t in timed.items()} == {"a": 2, "b": 2}


def test_figures_are_median_least_and_ninetieth_percentile() -> None:
    still = State("performance", 1500.0, None)
    found = figures(Timed([float(ms) for ms in range(10, 0, -1)], still, still))
    assert (found["ms"], found["min_ms"], found["p90_ms"]) == ("5.5000", "1.0000", "9.0000")
    assert found["repetitions"] == 10
    assert set(found) <= set(bench.COLUMNS)


def test_a_changing_governor_and_a_falling_clock_are_told() -> None:
    still, slower = State("performance", 1500.0, 50.0), State("performance", 1200.0, 80.0)
    assert doubts({"net": Timed([1.0], still, still)}) == []
    (fallen,) = doubts({"net": Timed([1.0], still, slower)})
    assert "net: the clock fell from 1500 to 1200 MHz" in fallen
    changing = State("ondemand", None, None)
    (governor,) = doubts({"net": Timed([1.0], changing, changing)})
    assert "the governor is ondemand" in governor
    unknown = State("", None, 40.0)
    (blind,) = doubts({"net": Timed([1.0], unknown, unknown)})
    assert "neither governor nor clock can be read" in blind


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(SystemExit, match="9999 threads need as many cores"):
        bench.pin(9999, None)
