"""Kernels of cells; the multiply-adds expected are those of the published table."""

import pytest

from benchmarks.nasbench201 import edges, network

ALL_CONV3 = (
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+"
    + "".join(f"|nor_conv_3x3~{n}" for n in range(3))
    + "|"
)


@pytest.mark.parametrize(
    ("arch", "macs"),
    [
        (
            "|nor_conv_1x1~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+"
            "|nor_conv_3x3~0|skip_connect~1|nor_conv_1x1~2|",
            90_358_400,
        ),
        (
            "|skip_connect~0|+|none~0|skip_connect~1|+"
            "|skip_connect~0|nor_conv_1x1~1|avg_pool_3x3~2|",
            11_715_200,
        ),
        # Six 3x3 convolutions of 16 channels on 32 x 32 in each of 15 cells, for all stages cost
        # the same; the rest is the stem, two reductions and the classifier.
        (ALL_CONV3, 90 * 9 * 16 * 16 * 32 * 32 + 7_783_040),
    ],
)
def test_multiply_adds_of_networks(arch: str, macs: int) -> None:
    assert sum(kernel.macs for kernel in network(arch)) == macs


def test_sums_join_what_a_node_reads() -> None:
    binaries = [k for k in network(ALL_CONV3) if k.kind == "binary"]
    assert len(binaries) == 15 * (0 + 1 + 2) + 2


def test_what_the_output_does_not_depend_on_is_not_executed() -> None:
    arch = "|nor_conv_3x3~0|+|avg_pool_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|none~2|"
    assert edges(arch) == [(0, 3, "skip_connect")]


def test_a_zero_that_merges_into_a_convolution_leaves_it_to_be_executed() -> None:
    arch = "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|nor_conv_1x1~0|none~1|none~2|"
    assert edges(arch) == [(0, 2, "nor_conv_3x3"), (0, 3, "nor_conv_1x1")]


def test_a_convolution_with_another_reader_merges_with_nothing() -> None:
    arch = "|nor_conv_1x1~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|none~1|none~2|"
    assert edges(arch) == [(0, 3, "skip_connect")]


def test_nothing_is_passed_on_of_a_node_without_terms() -> None:
    arch = "|none~0|+|skip_connect~0|skip_connect~1|+|none~0|skip_connect~1|skip_connect~2|"
    assert edges(arch) == [(0, 2, "skip_connect"), (2, 3, "skip_connect")]


def test_a_constant_has_no_kernels() -> None:
    assert network("|skip_connect~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|") == []


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown operation 'max_pool'"):
        edges("|max_pool~0|+|none~0|none~1|+|none~0|none~1|none~2|")
