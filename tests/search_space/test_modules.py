"""The modules of single operations, and how learned layers condense."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from search_space import ops
from search_space.modules import (
    MODULES,
    Gather,
    IndexAdd,
    LearnedClassifier,
    LearnedGroupConv,
    LearnedLayer,
    Shuffle,
    SparseReactivation,
    SqueezeExcite,
    drops_at,
    kept_after,
)
from search_space.ops import Op, Value

# --- One module per operation -----------------------------------------------------------------

X = Value("x", 6, 4)
VECTOR = Value("v", 6, 1)
SAMPLES: dict[type[Op], Op] = {
    op.__class__: op
    for op in (
        ops.Conv(
            name="o",
            inputs=(X,),
            outputs=(Value("y", 4, 2),),
            kernel=3,
            stride=2,
            groups=2,
        ),
        ops.LearnedConv(
            name="o",
            inputs=(X,),
            outputs=(Value("y", 4, 4),),
            kernel=1,
            groups=2,
            condense_factor=3,
        ),
        ops.LearnedReactivation(
            name="o",
            inputs=(Value("x", 4, 4),),
            outputs=(Value("y", 6, 4),),
            kernel=1,
            groups=2,
            sparse_factor=3,
        ),
        ops.Linear(name="o", inputs=(VECTOR,), outputs=(Value("y", 3, 1),)),
        ops.LearnedLinear(
            name="o", inputs=(VECTOR,), outputs=(Value("y", 3, 1),), condense_factor=2
        ),
        ops.Norm(name="o", inputs=(X,), outputs=(X,)),
        ops.Activation(name="o", inputs=(X,), outputs=(X,), kind="hard_swish"),
        ops.SqueezeExcite(name="o", inputs=(X,), outputs=(X,), reduction=4),
        ops.Gather(name="o", inputs=(X,), outputs=(Value("y", 9, 4),)),
        ops.Shuffle(name="o", inputs=(X,), outputs=(X,), groups=3),
        ops.IndexAdd(name="o", inputs=(X, Value("y", 8, 4)), outputs=(X,)),
        ops.Scatter(name="o", inputs=(Value("y", 8, 4),), outputs=(X,)),
        ops.Add(name="o", inputs=(X, X), outputs=(X,)),
        ops.Concat(name="o", inputs=(X, Value("y", 2, 4)), outputs=(Value("z", 8, 4),)),
        ops.Split(name="o", inputs=(X,), outputs=(Value("y", 2, 4), Value("z", 4, 4))),
        ops.AvgPool(name="o", inputs=(X,), outputs=(Value("y", 6, 2),), kernel=2, stride=2),
        ops.MaxPool(name="o", inputs=(X,), outputs=(Value("y", 6, 2),), kernel=3, stride=2),
        ops.GlobalPool(name="o", inputs=(X,), outputs=(VECTOR,)),
        ops.Flatten(name="o", inputs=(X,), outputs=(Value("y", 6 * 16, 1),)),
    )
}


def tensor(value: Value) -> Tensor:
    shape = (2, value.channels) + ((value.size,) * 2 if value.size > 1 else ())
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", MODULES)
def test_a_module_writes_the_shapes_and_owns_the_parameters_of_its_operation(
    kind: type[Op],
) -> None:
    op = SAMPLES[kind]
    module = MODULES[kind](op)
    result = module(*(tensor(value) for value in op.inputs))
    results = result if isinstance(result, tuple) else (result,)
    assert [r.shape for r in results] == [tensor(value).shape for value in op.outputs]
    assert sum(p.numel() for p in module.parameters()) == op.params


def test_every_operation_has_a_module() -> None:
    known = {kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, Op)}
    assert set(MODULES) == known - {Op}


def column(*values: float) -> Tensor:
    """One image of 1 x 1 pixels."""
    return torch.tensor(values, dtype=torch.float32)[None, :, None, None]


def test_gather_reads_by_index_and_may_repeat() -> None:
    gather = Gather(4)
    gather.index.copy_(torch.tensor([2, 0, 2, 1]))
    assert gather(column(10, 11, 12)).flatten().tolist() == [12, 10, 12, 11]


def test_index_add_adds_twice_where_an_index_repeats() -> None:
    add = IndexAdd(3)
    add.index.copy_(torch.tensor([2, 0, 2]))
    x = column(10, 11, 12)
    assert add(x, column(1, 2, 4)).flatten().tolist() == [12, 11, 17]
    assert x.flatten().tolist() == [10, 11, 12]


def test_shuffle_transposes_the_channels() -> None:
    x = column(0, 1, 2, 3, 4, 5)
    assert Shuffle(2)(x).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    assert Shuffle(3)(Shuffle(2)(x)).equal(x)


@pytest.mark.parametrize("shape", [(2, 4, 3, 3), (2, 4)])
def test_squeeze_excite_scales_channels_by_their_means(shape: tuple[int, ...]) -> None:
    module = SqueezeExcite(4, 2)
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        nn.init.normal_(weight, generator=generator)
    x = torch.randn(shape, generator=generator)
    means = x.flatten(2).mean(2) if len(shape) == 4 else x
    hidden = (means @ module.reduce.weight.T).clamp(min=0)
    scale = 1 / (1 + torch.exp(-(hidden @ module.expand.weight.T)))
    expected = x * (scale[:, :, None, None] if len(shape) == 4 else scale)
    torch.testing.assert_close(module(x), expected)


# --- The schedule -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "iterations"),
    [
        # Measured on the authors' code with 60 iterations.
        (4, [10, 20, 30]),
        (8, [5, 9, 13, 18, 22, 26, 30]),
        (2, [30]),
        (1, []),
    ],
)
def test_drops_fire_where_the_authors_code_fires(factor: int, iterations: list[int]) -> None:
    due = [drops_at(i / 60, factor) for i in range(60)]
    assert [i for i in range(1, 60) if due[i] > due[i - 1]] == iterations
    assert due[0] == 0
    assert due[-1] == max(0, factor - 1)


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5, 6, 8])
@pytest.mark.parametrize("total", [3, 49, 60, 90, 700, 999])
def test_drop_j_fires_at_the_first_iteration_that_reaches_it(total: int, factor: int) -> None:
    for i in range(total + 1):
        # In whole numbers: i / total >= j / (2 (factor - 1)).
        due = max(j for j in range(factor) if 2 * i * (factor - 1) >= j * total)
        assert drops_at(i / total, factor) == due


@pytest.mark.parametrize("progress", [-0.001, 1.001, -1.0, 2.0, float("nan"), float("inf")])
def test_progress_is_a_share(progress: float) -> None:
    with pytest.raises(ValueError, match=r"`progress` \(=.*\) must be in \[0, 1\]"):
        drops_at(progress, 4)
    with pytest.raises(ValueError, match="progress"):
        LearnedGroupConv(8, 4, 1, 2, 4).condense(progress)


@pytest.mark.parametrize(
    ("inputs", "factor", "kept"),
    [
        (8, 4, [8, 6, 4, 2]),
        (8, 1, [8]),
        (8, 8, [8, 7, 6, 5, 4, 3, 2, 1]),
        # floor(11 / 4) = 2: 9 to drop in 3.
        (11, 4, [11, 8, 5, 2]),
        # floor(10 / 4) = 2: 8 to drop in 3.
        (10, 4, [10, 8, 5, 2]),
        (7, 2, [7, 3]),
    ],
)
def test_drops_share_what_goes_evenly(inputs: int, factor: int, kept: list[int]) -> None:
    assert [kept_after(drops, inputs, factor) for drops in range(len(kept))] == kept


# --- Condensing -------------------------------------------------------------------------------


def with_weight(layer: LearnedLayer, weight: list[list[float]]) -> LearnedLayer:
    """A layer whose weights one can see: one row per output."""
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight).view_as(layer.weight))
    return layer


def kept(layer: LearnedLayer) -> list[list[int]]:
    return [row.nonzero().flatten().tolist() for row in layer.mask]


def classifier(inputs: int, outputs: int, factor: int) -> LearnedClassifier:
    return LearnedClassifier(inputs, outputs, factor, bias=True, at_conversion=False)


def random_layer(make: Callable[[], LearnedLayer]) -> LearnedLayer:
    layer = make()
    nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(0))
    if isinstance(layer, LearnedClassifier):
        nn.init.zeros_(layer.bias)
    return layer


def layers(candidates: int, factor: int) -> list[LearnedLayer]:
    """One of each kind that chooses among ``candidates``."""
    return [
        random_layer(lambda: LearnedGroupConv(candidates, 8, 1, 4, factor)),
        random_layer(lambda: SparseReactivation(8, candidates, 1, 2, factor)),
        random_layer(lambda: classifier(candidates, 5, factor)),
    ]


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("total", [1, 2, 7, 60, 61, 101, 999])
def test_every_group_ends_with_its_exact_share(total: int, factor: int) -> None:
    for candidates in (24, 29):
        for layer in layers(candidates, factor):
            for i in range(total):
                layer.condense(i / total)
            if total > 1:
                # The second half of training is for what is left.
                assert layer.is_condensed
            layer.condense(1.0)
            assert layer.is_condensed
            assert set(layer.mask.sum(1).tolist()) == {candidates // factor}


def test_a_jump_over_drops_performs_them_all() -> None:
    for stepwise, jumping in zip(layers(24, 8), layers(24, 8), strict=True):
        for i in range(61):
            stepwise.condense(i / 60)
        jumping.condense(0.5)
        assert jumping.is_condensed
        assert jumping.mask.equal(stepwise.mask)


def test_condensing_is_monotone() -> None:
    for layer in layers(24, 8):
        before = layer.mask.clone()
        assert before.all()
        for i in range(61):
            with torch.no_grad():
                layer.weight.normal_(generator=torch.Generator().manual_seed(i))
            layer.condense(i / 60)
            assert not (layer.mask & ~before).any()
            before = layer.mask.clone()


def test_a_lower_progress_changes_nothing() -> None:
    for layer in layers(24, 4):
        layer.condense(0.4)
        before = layer.mask.clone()
        layer.condense(0.1)
        layer.condense(0.4)
        assert layer.mask.equal(before)
        assert before.sum() < before.numel()


def test_what_is_gone_stays_gone_however_small_the_rest() -> None:
    layer = with_weight(LearnedGroupConv(4, 1, 1, 1, 4), [[0.0, 5.0, 4.0, 3.0]])
    layer.condense(0.2)
    assert kept(layer) == [[1, 2, 3]]
    with_weight(layer, [[9.0, 0.0, 0.0, 0.0]])
    layer.condense(0.4)
    assert kept(layer) == [[1, 2]]
    layer.condense(1.0)
    assert kept(layer) == [[1]]


def test_output_groups_are_interleaved_and_lose_their_least_important_inputs() -> None:
    # Rows 0 and 2 are group 0, rows 1 and 3 group 1. L1 norms: 7 3 4 9; 4 8 6 5.
    layer = with_weight(
        LearnedGroupConv(4, 4, 1, 2, 4),
        [
            [3.0, -1.0, 2.0, -5.0],
            [2.0, 4.0, -3.0, 1.0],
            [-4.0, 2.0, 2.0, 4.0],
            [2.0, -4.0, 3.0, 4.0],
        ],
    )
    assert layer.importance().tolist() == [[7, 3, 4, 9], [4, 8, 6, 5]]
    layer.condense(1 / 6)
    assert kept(layer) == [[0, 2, 3], [1, 2, 3]]
    layer.condense(2 / 6)
    assert kept(layer) == [[0, 3], [1, 2]]
    layer.condense(3 / 6)
    assert kept(layer) == [[3], [1]]
    ones = column(1, 1, 1, 1)
    assert layer(ones).flatten().tolist() == [-5, 4, 4, -4]


def test_input_groups_are_interleaved_and_lose_their_least_important_outputs() -> None:
    # Columns 0 and 2 are group 0, columns 1 and 3 group 1. L1 norms: 5 3 9; 2 8 7.
    layer = with_weight(
        SparseReactivation(4, 3, 1, 2, 3),
        [
            [2.0, 1.0, -3.0, 1.0],
            [1.0, -4.0, 2.0, 4.0],
            [-4.0, 3.0, 5.0, 4.0],
        ],
    )
    assert layer.importance().tolist() == [[5, 3, 9], [2, 8, 7]]
    layer.condense(0.25)
    assert kept(layer) == [[0, 2], [1, 2]]
    layer.condense(0.5)
    assert kept(layer) == [[2], [1]]
    assert layer(column(1, 10, 100, 1000)).flatten().tolist() == [0, 3960, 496]


def test_a_classifier_is_one_group() -> None:
    layer = with_weight(classifier(4, 2, 2), [[1.0, -2.0, 3.0, 0.0], [1.0, 2.0, 0.0, 1.0]])
    nn.init.constant_(layer.bias, 0.5)
    layer.condense(1.0)
    assert kept(layer) == [[1, 2]]
    assert layer(torch.tensor([[1.0, 10.0, 100.0, 1000.0]])).tolist() == [[280.5, 20.5]]


def test_larger_kernels_count_their_largest_weight() -> None:
    # Input 0 has the larger sum, input 1 the larger single weight (CondenseNetV2, footnote 2).
    flat, peaked = torch.full((3, 3), 2.0), torch.zeros(3, 3)
    peaked[1, 2] = -3.0
    conv = LearnedGroupConv(2, 1, 3, 1, 2)
    reactivation = SparseReactivation(1, 2, 3, 1, 2)
    with torch.no_grad():
        conv.weight.copy_(torch.stack([flat, peaked])[None])
        reactivation.weight.copy_(torch.stack([flat, peaked])[:, None])
    for layer in (conv, reactivation):
        assert layer.importance().tolist() == [[2, 3]]
        layer.condense(1.0)
        assert kept(layer) == [[1]]
    assert conv(torch.ones(1, 2, 4, 4)).shape == (1, 1, 4, 4)
    assert reactivation(torch.ones(1, 1, 4, 4)).shape == (1, 2, 4, 4)


def test_blocks_are_kept_or_dropped_whole_by_the_sum_of_their_importance() -> None:
    # Rows 0 and 2 are group 0. Channel 3 is the most important alone, channels 0 and 1 together.
    conv = with_weight(
        LearnedGroupConv(4, 2, 1, 2, 2, block=2), [[3.0, -3.0, 1.0, 4.0], [1.0, 1.0, -4.0, 0.0]]
    )
    assert conv.importance().tolist() == [[6, 5], [2, 4]]
    reactivation = with_weight(
        SparseReactivation(2, 4, 1, 2, 2, block=2),
        [[3.0, 1.0], [-3.0, 1.0], [1.0, -4.0], [4.0, 0.0]],
    )
    assert reactivation.importance().tolist() == [[6, 5], [2, 4]]
    for layer in (conv, reactivation):
        assert layer.mask.shape == (2, 2)
        layer.condense(1.0)
        assert kept(layer) == [[0], [1]]
        assert layer.channel_mask.tolist() == [
            [True, True, False, False],
            [False, False, True, True],
        ]
        assert layer.kept_index().tolist() == [[0, 1], [2, 3]]
    assert conv(column(1, 10, 100, 1000)).flatten().tolist() == [3 - 30, -400]
    assert reactivation(column(1, 10)).flatten().tolist() == [3, -3, -40, 0]


def test_blocks_of_one_are_channels() -> None:
    one, plain = (
        random_layer(lambda options=options: LearnedGroupConv(24, 8, 1, 4, 3, **options))
        for options in ({"block": 1}, {})
    )
    for layer in (one, plain):
        layer.condense(1.0)
    assert one.mask.equal(plain.mask)


def test_the_last_drop_leaves_a_whole_number_of_blocks() -> None:
    layer = random_layer(lambda: LearnedGroupConv(20, 8, 1, 4, 2, block=4))
    layer.condense(1.0)
    # Five blocks, of which a half is two.
    assert layer.is_condensed
    assert layer.channel_mask.sum(1).tolist() == [8] * 4


def test_equal_importance_keeps_the_first() -> None:
    layer = with_weight(LearnedGroupConv(4, 2, 1, 2, 2), [[1.0] * 4, [1.0] * 4])
    layer.condense(1.0)
    assert kept(layer) == [[0, 1], [0, 1]]


def test_kept_indices_ascend() -> None:
    for layer in layers(24, 4):
        layer.condense(1.0)
        assert layer.kept_index().tolist() == kept(layer)
        assert layer.kept_index().shape == (layer.mask.shape[0], 6)


def test_kept_indices_are_refused_before_the_last_drop() -> None:
    for layer in layers(24, 4):
        layer.condense(0.4)
        assert not layer.is_condensed
        with pytest.raises(ValueError, match="drops to come"):
            layer.kept_index()


# --- What must not change a mask --------------------------------------------------------------


def batch(layer: LearnedLayer) -> Tensor:
    shape = (2, layer.weight.shape[1]) + (() if isinstance(layer, LearnedClassifier) else (3, 3))
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_forward_and_eval_leave_masks_alone() -> None:
    for layer in layers(24, 4):
        layer.condense(0.2)
        before = layer.mask.clone()
        layer.train()(batch(layer)).sum().backward()
        layer.eval()(batch(layer))
        assert layer.mask.equal(before)
        assert 0 < before.sum() < before.numel()


def test_only_kept_weights_get_a_gradient() -> None:
    for layer in layers(24, 4):
        layer.condense(1.0)
        layer(batch(layer)).square().sum().backward()
        gradient = layer.weight.grad
        assert gradient is not None
        on = layer.expanded_mask().expand_as(layer.weight)
        assert (gradient[~on] == 0).all()
        assert (gradient[on] != 0).all()


def test_two_layers_share_nothing() -> None:
    for one, other in zip(layers(24, 4), layers(24, 4), strict=True):
        one.condense(1.0)
        assert one.is_condensed
        assert other.mask.all()
        assert not other.is_condensed


def test_masks_are_saved_with_the_weights() -> None:
    for layer, fresh in zip(layers(24, 4), layers(24, 4), strict=True):
        layer.condense(0.4)
        state = layer.state_dict()
        assert set(state) == {"weight", "mask"} | (
            {"bias"} if isinstance(layer, LearnedClassifier) else set()
        )
        fresh.load_state_dict(state)
        assert fresh.mask.equal(layer.mask)
        fresh.condense(1.0)
        assert not (fresh.mask & ~layer.mask).any()


# --- What is remembered of a mask -------------------------------------------------------------


def agrees(layer: LearnedLayer) -> bool:
    """Whether what the layer remembers is what its mask says."""
    counts = layer.mask.sum(1)
    right = bool((counts == layer.mask.shape[1] // layer.factor).all())
    masked = layer.masked_weight() != 0
    return (
        layer.kept == int(counts[0])
        and layer.is_condensed == right
        and layer.importance()
        .masked_fill(~layer.mask, 0)
        .sum()
        .isclose((layer.weight.abs() * masked).sum())
    )


CHANGES: dict[str, Callable[[LearnedLayer], LearnedLayer]] = {
    "condensed": lambda layer: (layer.condense(1.0), layer)[1],
    "copied": copy.deepcopy,
    "copied, then condensed": lambda layer: CHANGES["condensed"](copy.deepcopy(layer)),
    "converted": lambda layer: layer.to(torch.float64),
    "filled": lambda layer: (layer.mask.fill_(True), layer)[1],
    "replaced": lambda layer: (setattr(layer, "mask", torch.ones_like(layer.mask)), layer)[1],
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_remembered_of_a_mask_follows_its_changes(change: str) -> None:
    for layer in layers(24, 4):
        assert agrees(layer)
        layer.condense(0.25)
        assert agrees(layer)
        assert agrees(CHANGES[change](layer))


def test_a_loaded_mask_is_noticed() -> None:
    for layer, other in zip(layers(24, 4), layers(24, 4), strict=True):
        other.condense(1.0)
        assert agrees(layer)
        layer.load_state_dict(other.state_dict())
        assert layer.is_condensed
        assert agrees(layer)


def test_an_unchanged_mask_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for layer in layers(24, 4):
        before = layer.kept, layer.is_condensed, layer.expanded_mask()
        monkeypatch.setattr(Tensor, "sum", None)
        layer.condense(0.0)
        after = layer.kept, layer.is_condensed, layer.expanded_mask()
        monkeypatch.undo()
        assert all(one is other for one, other in zip(before, after, strict=True))


# --- Group lasso ------------------------------------------------------------------------------


def test_group_lasso_sums_the_norms_of_what_each_group_keeps() -> None:
    # Rows 0 and 2 are group 0: columns of (3, 4), (0, 0); rows 1 and 3: (5, 12), (8, 15).
    conv = with_weight(
        LearnedGroupConv(2, 4, 1, 2, 2), [[3.0, 0.0], [5.0, 8.0], [4.0, 0.0], [12.0, 15.0]]
    )
    assert conv.group_lasso().item() == pytest.approx(5 + 1e-3 + 13 + 17)
    conv.condense(1.0)
    assert conv.group_lasso().item() == pytest.approx(5 + 17)
    # Columns 0 and 2 are group 0, 1 and 3 group 1.
    reactivation = with_weight(
        SparseReactivation(4, 2, 1, 2, 2), [[3.0, 5.0, 4.0, 12.0], [0.0, 8.0, 0.0, 15.0]]
    )
    assert reactivation.group_lasso().item() == pytest.approx(5 + 1e-3 + 13 + 17)
    reactivation.condense(1.0)
    assert reactivation.group_lasso().item() == pytest.approx(5 + 17)
    linear = with_weight(classifier(2, 2, 2), [[3.0, 5.0], [4.0, 12.0]])
    assert linear.group_lasso().item() == pytest.approx(5 + 13)
    linear.condense(1.0)
    assert linear.group_lasso().item() == pytest.approx(13)


def test_group_lasso_takes_blocks_and_kernels_whole() -> None:
    conv = with_weight(LearnedGroupConv(4, 1, 1, 1, 2, block=2), [[3.0, 4.0, 5.0, 12.0]])
    assert conv.group_lasso().item() == pytest.approx(5 + 13)
    wide = LearnedGroupConv(1, 1, 3, 1, 1)
    nn.init.constant_(wide.weight, 2.0)
    assert wide.group_lasso().item() == pytest.approx(6)


def test_group_lasso_pulls_kept_weights_and_leaves_dropped_ones() -> None:
    layer = with_weight(LearnedGroupConv(3, 2, 1, 1, 3), [[3.0, 0.0, 1.0], [4.0, 0.0, 1.0]])
    layer.condense(0.25)
    layer.group_lasso().backward()
    gradient = layer.weight.grad
    assert gradient is not None
    kept_inputs = layer.mask[0].tolist()
    assert gradient[:, 0, 0, 0].tolist() == pytest.approx([0.6, 0.8])
    assert gradient[:, 1].abs().sum() == 0
    assert bool((gradient[:, 2] != 0).all()) == kept_inputs[2]
    assert gradient.isfinite().all()
