"""The ARM processor of CondenseNet's table."""

import math
from pathlib import Path

import pytest

from latency_models import device
from latency_models.paper_arm import COUNTER, TABLE_5, main, paper_arm
from search_space import ZOO, cost


def test_the_shipped_device_is_what_the_table_gives(tmp_path: Path) -> None:
    main(["--out", str(tmp_path)])
    found = paper_arm()
    written = (tmp_path / found.file_name).read_text(encoding="utf-8")
    assert written == device("paper-arm/paper/1").to_yaml()


@pytest.mark.parametrize("name", sorted(TABLE_5.keys() & ZOO.keys()))
def test_the_tables_flops_are_those_of_the_counter(name: str) -> None:
    flops = cost(ZOO[name], convention=COUNTER).paper_flops
    assert TABLE_5[name].flops == round(flops, -6)


def test_the_price_minimises_the_squared_relative_error() -> None:
    on = paper_arm()

    def error(ns: float) -> float:
        rows = (TABLE_5[name] for name in on.networks)
        return sum((ns * 1e-9 * row.flops / row.wall_s - 1) ** 2 for row in rows)

    assert error(on.ns_per_flop) < min(error(0.999 * on.ns_per_flop), error(1.001 * on.ns_per_flop))


def test_rows_that_do_not_fit_are_misfits_and_not_fitted() -> None:
    on = paper_arm()
    assert {*on.networks} | {*on.misfits} == {*TABLE_5}
    for name, ratio in on.misfits.items():
        assert ratio == pytest.approx(
            on.ns_per_flop * 1e-9 * TABLE_5[name].flops / TABLE_5[name].wall_s, abs=1e-4
        )
        assert abs(math.log(ratio)) > 2 * on.error.log_residual_90
        assert f"{name} (predicted {ratio:.2f} of the time)" in on.note
