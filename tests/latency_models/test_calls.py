"""The rule of folding on calls written out by hand."""

import pytest

from latency_models.calls import Call, Role, executed
from latency_models.kernels import Kernel


def call(role: Role, name: str, *reads: str) -> Call:
    kernel = Kernel(
        kind="other",
        in_channels=1,
        out_channels=1,
        in_elements=1,
        out_elements=1,
        function=name,
    )
    return Call(role, reads, (name,), (kernel,))


@pytest.mark.parametrize(
    ("calls", "left"),
    [
        ([call("conv", "c", "x"), call("norm", "n", "c"), call("activation", "a", "n")], "c"),
        ([call("conv", "c", "x"), call("activation", "a", "c"), call("norm", "n", "a")], "c n"),
        ([call("linear", "l", "x"), call("norm", "n", "l"), call("activation", "a", "n")], "l n"),
        ([call("norm", "n", "x"), call("activation", "a", "n"), call("conv", "c", "a")], "n c"),
        ([call("conv", "c", "x"), call("shuffle", "s", "c"), call("norm", "n", "s")], "c s"),
        ([call("other", "o", "x"), call("activation", "a", "o")], "o a"),
        ([call("conv", "c", "x"), call("norm", "n", "c"), call("other", "o", "c", "n")], "c n o"),
        ([call("other", "o"), call("activation", "a", "o")], "o a"),
    ],
)
def test_what_is_executed_apart(calls: list[Call], left: str) -> None:
    assert " ".join(k.function for k in executed(calls, [calls[-1].writes[0]])) == left


def test_what_is_read_from_outside_does_not_fold() -> None:
    calls = [call("conv", "c", "x"), call("norm", "n", "c")]
    assert [k.function for k in executed(calls, ["c", "n"])] == ["c", "n"]
