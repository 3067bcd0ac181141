"""Checkpoints in the authors' names, written here from networks of ours and read back."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models import DenseNet

from results.importers import IMPORTERS, Imported, Overrides, import_checkpoint
from results.importers.checkpoint import Checkpoint
from results.importers.imported import transition_spec
from search_space import (
    DenseStage,
    HeadSpec,
    NetworkSpec,
    ShuffleStage,
    StemSpec,
    TransitionSpec,
    UserError,
    build,
)
from search_space.fetch import fetched
from search_space.modules import LearnedLayer
from search_space.network import Network
from search_space.plan import Form

State = dict[str, Tensor]
TRANSITION = TransitionSpec(kind="conv", compression=0.5)
LEARNED_TRANSITION = TransitionSpec(
    kind="learned", compression=0.5, groups_1x1=4, condense_factor=4
)


def network_spec(*stages: DenseStage, stem: int = 16, **more: object) -> NetworkSpec:
    """A network as the authors' fixed 8 x 8 pooling sizes it; five stages or more as for 7 x 7."""
    many = len(stages) >= 5
    return NetworkSpec(
        image_size=7 * 2 ** len(stages) if many else 8 * 2 ** (len(stages) - 1),
        classes=6,
        stem=StemSpec(channels=stem, stride=2 if many else 1),
        stages=stages,
        **more,
    )


def learned(growth_rate: int, depth: int = 2, g: int = 4, c: int = 4, **more: object) -> DenseStage:
    return DenseStage(
        depth=depth,
        growth_rate=growth_rate,
        groups_1x1=g,
        condense_factor=c,
        groups_3x3=4,
        **more,
    )


def reactivating(growth_rate: int, g: int = 4, s: int = 4, **more: object) -> DenseStage:
    return learned(growth_rate, sfr="all", sfr_groups=g, sparse_factor=s, **{"depth": 1, **more})


def sparse(growth_rate: int, depth: int, bottleneck: int = 4, fetch: str = "exponential"):
    return DenseStage(depth=depth, growth_rate=growth_rate, bottleneck=bottleneck, fetch=fetch)


CONDENSENETS = {
    "G = C": network_spec(learned(8), learned(16)),
    "G < C": network_spec(learned(8, c=8), learned(16, c=8)),
    "G > C": network_spec(learned(8, g=8), learned(16, g=8), head=HeadSpec(condense_factor=2)),
    "five stages": network_spec(*[learned(8, depth=1)] * 5),
    "light": network_spec(*[learned(8)] * 3, transition=LEARNED_TRANSITION),
}
DENSE = {"DenseNet": network_spec(*[learned(8, g=1, c=1)] * 2, transition=TRANSITION)}
V2_HEAD = HeadSpec(se_reduction=16, features=20)
CONDENSENETV2S = {
    "G = C = S": network_spec(reactivating(8, depth=2), reactivating(16), head=V2_HEAD),
    "G < S, hard-swish, SE": network_spec(
        reactivating(8, s=8),
        reactivating(8, s=8),
        reactivating(8, s=8, activation="hard_swish", se_reduction=2),
        head=V2_HEAD,
    ),
}
SPARSENETS = {
    "plain": network_spec(
        sparse(6, 5, 0), sparse(6, 3, 0), transition=TransitionSpec(kind="conv"), stem=6
    ),
    "bottleneck, growing": network_spec(sparse(4, 4), sparse(8, 9), transition=TRANSITION, stem=5),
    "dense": network_spec(*[sparse(4, 3, fetch="dense")] * 2, transition=TRANSITION, stem=8),
}
SHUFFLENETS = {
    "two stages": NetworkSpec(
        image_size=224,
        classes=6,
        stem=StemSpec(channels=6, stride=2, normed=True, pooled=True),
        stages=(
            ShuffleStage(channels=20, units=("3", "3")),
            ShuffleStage(channels=40, units=("3", "3", "3")),
        ),
        head=HeadSpec(normed=False, conv_features=24, activation="relu", bias=False),
    ),
}
SHUFFLENETPLUSES = {
    "all units": NetworkSpec(
        image_size=224,
        classes=6,
        stem=StemSpec(channels=6, stride=2, normed=True, activation="hard_swish"),
        stages=(
            ShuffleStage(channels=20, units=("3", "xception")),
            ShuffleStage(channels=40, units=("xception", "5"), activation="hard_swish"),
            ShuffleStage(
                channels=80,
                units=("7", "xception", "3"),
                activation="hard_swish",
                se_reduction=4,
            ),
        ),
        head=HeadSpec(
            normed=False,
            conv_features=24,
            se_reduction=4,
            se_normed=True,
            features=16,
            bias=False,
        ),
    ),
}


# --- The authors' names, written from our networks ----------------------------------------------


def random_network(spec: NetworkSpec, form: Form) -> Network:
    """A trained network's stand-in: all drops made, no norm like another."""
    g = torch.Generator().manual_seed(0)
    network = build(spec, "masked", generator=g)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 1.5, generator=g)
    network.condense(1.0)
    return (network.to_inference() if form == "condensed" else network).eval()


def moved(state: State, ours: str, theirs: str) -> State:
    """The tensors below one name under another."""
    return {
        theirs + name.removeprefix(ours): tensor
        for name, tensor in state.items()
        if name.startswith(f"{ours}.")
    }


def learned_names(network: Network, ours: str, theirs: str, factor: int) -> State:
    """A learned layer with its norm: full masks and counters, or what its index becomes."""
    state = network.state_dict()
    names = moved(state, f"{ours}_norm", f"{theirs}.norm")
    names[f"{theirs}.conv.weight"] = state[f"{ours}.weight"]
    layer = network.get_submodule(ours)
    if isinstance(layer, LearnedLayer):
        mask = layer.expanded_mask().expand_as(layer.weight)
        dropped = layer.mask.shape[1] - layer.mask.shape[1] // factor
        names[f"{theirs}._mask"] = mask.float()
        names[f"{theirs}._count"] = torch.tensor([float(dropped)])
        names[f"{theirs}._stage"] = torch.tensor([float(factor - 1)])
    elif f"{ours}_gather.index" in state:
        names[f"{theirs}.index"] = state[f"{ours}_gather.index"]
    elif f"{ours}_add.index" in state:
        index = state[f"{ours}_add.index"]
        names[f"{theirs}.index"] = torch.eye(int(max(len(index), index.max() + 1)))[index]
    return names


def condensenet_names(network: Network) -> State:
    """Both CondenseNets as their authors' code saves them."""
    state, spec = network.state_dict(), network.spec
    names = {"features.init_conv.weight": state["steps.stem.conv.weight"]}
    for i, stage in enumerate(spec.stages, start=1):
        for j in range(1, stage.depth + 1):
            ours = f"steps.stage{i}_layer{j}"
            theirs = f"features.denseblock_{i}.denselayer_{j}"
            names |= learned_names(
                network, f"{ours}.reduce", f"{theirs}.conv_1", stage.condense_factor
            )
            names |= moved(state, f"{ours}.conv_norm", f"{theirs}.conv_2.norm")
            names |= moved(state, f"{ours}.conv", f"{theirs}.conv_2.conv")
            names |= moved(state, f"{ours}.se.reduce", f"{theirs}.se.fc.0")
            names |= moved(state, f"{ours}.se.expand", f"{theirs}.se.fc.2")
            if stage.sfr == "all":
                names |= learned_names(network, f"{ours}.sfr", f"{theirs}.sfr", stage.sparse_factor)
        ours, theirs = f"steps.transition{i}.reduce", f"features.transition_{i}.conv"
        if f"{ours}.weight" in state:
            names |= learned_names(network, ours, theirs, spec.transition.condense_factor)
    names |= moved(state, "steps.head.final_norm", "features.norm_last")
    names |= moved(state, "steps.head.se.reduce", "features.se_last.fc.0")
    names |= moved(state, "steps.head.se.expand", "features.se_last.fc.2")
    names |= moved(state, "steps.head.features", "fc")
    gathers = "steps.head.classifier_gather.index" in state
    classifier = "classifier.linear" if gathers else "classifier"
    names |= moved(state, "steps.head.classifier", classifier)
    names |= moved(state, "steps.head.classifier_gather", "classifier")
    names.pop("classifier.mask", None)
    return names


def newest_first(tensor: Tensor, sizes: list[int], dim: int) -> Tensor:
    return torch.cat(tensor.split(sizes, dim)[::-1], dim)


def sparsenet_names(network: Network) -> State:
    """SparseNet as its author's code saves it: what is fetched lies newest first."""
    state, spec = network.state_dict(), network.spec
    names = {"features.conv0.weight": state["steps.stem.conv.weight"]}
    entry = spec.stem.channels

    def reading(ours: str, theirs: str, sizes: list[int], rule: str, weight: str, to: str) -> State:
        """A norm and the weight behind it, both in the authors' order."""
        found = moved(state, ours, theirs) | {to: state[weight]}
        if rule == "dense":
            return found
        return {
            name: newest_first(t, sizes, 1 if name == to else 0) if t.dim() else t
            for name, t in found.items()
        }

    for i, stage in enumerate(spec.stages):
        outputs = [entry] + [stage.growth_rate] * stage.depth
        for j in range(1, stage.depth + 1):
            ours, theirs = f"steps.stage{i + 1}_layer{j}", f"features.dense-stage-{i}.block-{j}"
            sizes = [outputs[p] for p in fetched(j, stage.fetch, 2)]
            first, to = ("reduce" if stage.bottleneck else "conv"), f"{theirs}.conv1.weight"
            names |= reading(
                f"{ours}.{first}_norm",
                f"{theirs}.bn1",
                sizes,
                stage.fetch,
                f"{ours}.{first}.weight",
                to,
            )
            if stage.bottleneck:
                names |= moved(state, f"{ours}.conv_norm", f"{theirs}.bn2")
                names |= moved(state, f"{ours}.conv", f"{theirs}.conv2")
        sizes = [outputs[p] for p in fetched(stage.depth + 1, stage.fetch, 2)]
        last = i + 1 == len(spec.stages)
        ours, theirs = f"steps.transition{i + 1}.reduce", f"features.transition-{i}"
        if last:
            names |= reading(
                "steps.head.final_norm",
                "features.norm_last",
                sizes,
                stage.fetch,
                "steps.head.classifier.weight",
                "classifier.linear.weight",
            )
        else:
            names |= reading(
                f"{ours}_norm",
                f"{theirs}.bn1",
                sizes,
                stage.fetch,
                f"{ours}.weight",
                f"{theirs}.conv1.weight",
            )
            entry = state[f"{ours}.weight"].shape[0]
    names["classifier.linear.bias"] = state["steps.head.classifier.bias"]
    return names


UNIT = "point1 point1_norm - depth depth_norm point2 point2_norm - se"
XCEPTION = " ".join(f"depth{i} depth{i}_norm point{i} point{i}_norm -" for i in (1, 2, 3)) + " se"
PASS = "pass_depth pass_depth_norm pass_point pass_point_norm"


def shufflenet_names(network: Network) -> State:
    """ShuffleNetV2 and V2+ as their authors' code saves them: lists of modules, - without any."""
    state = network.state_dict()

    def attention(ours: str, theirs: str) -> State:
        convs = {"reduce": "1", "norm": "2", "expand": "4"}
        names = {
            name: tensor
            for part, place in convs.items()
            for name, tensor in moved(state, f"{ours}.{part}", f"{theirs}.SE_opr.{place}").items()
        }
        return {n: t[:, :, None, None] if t.dim() == 2 else t for n, t in names.items()}

    names: State = {}
    units = [
        (f"steps.stage{i}_layer{j}", kind)
        for i, stage in enumerate(network.spec.stages, start=1)
        for j, kind in enumerate(stage.units, start=1)
    ]
    for number, (ours, kind) in enumerate(units):
        main = XCEPTION if kind == "xception" else UNIT
        for branch, modules in (("branch_main", main), ("branch_proj", PASS)):
            for place, module in enumerate(modules.split()):
                theirs = f"features.{number}.{branch}.{place}"
                write = attention if module == "se" else lambda a, b: moved(state, a, b)
                names |= write(f"{ours}.{module}", theirs)
    names |= moved(state, "steps.stem.conv", "first_conv.0")
    names |= moved(state, "steps.stem.conv_norm", "first_conv.1")
    names |= moved(state, "steps.head.conv", "conv_last.0")
    names |= moved(state, "steps.head.conv_norm", "conv_last.1")
    names |= attention("steps.head.se", "LastSE")
    names |= moved(state, "steps.head.features", "fc.0")
    names |= moved(state, "steps.head.classifier", "classifier.0")
    return names


def torchvision_densenet() -> torch.nn.Module:
    """A small DenseNet of torchvision, no norm like another."""
    network = DenseNet(
        growth_rate=4, block_config=(2, 3, 1, 1), num_init_features=6, bn_size=2, num_classes=5
    )
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.data.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture
def imported(tmp_path: Path) -> Callable[..., Imported]:
    """Writes a state to a file and imports it."""

    def call(content: object, *, entry: str | None = None, **overrides: int) -> Imported:
        path = tmp_path / "checkpoint.pth.tar"
        torch.save(content, path)
        return import_checkpoint(path, Overrides(**overrides), entry=entry)[1]

    return call


@pytest.fixture
def condensenet() -> State:
    """A small CondenseNet in the authors' names, masked."""
    return condensenet_names(random_network(CONDENSENETS["G = C"], "masked"))


@pytest.fixture
def condensenetv2() -> State:
    """A small CondenseNetV2 in the authors' names, converted."""
    return condensenet_names(random_network(CONDENSENETV2S["G = C = S"], "condensed"))


# --- What is read comes back --------------------------------------------------------------------

CASES = [
    *[("condensenet", condensenet_names, name, CONDENSENETS, form)
      for name in CONDENSENETS for form in ("masked", "condensed")],
    *[("condensenetv2", condensenet_names, name, CONDENSENETV2S, "masked")
      for name in CONDENSENETV2S],
    ("condensenetv2", condensenet_names, "G = C = S", CONDENSENETV2S, "condensed"),
    ("condensenet", condensenet_names, "DenseNet", DENSE, "masked"),
    *[("sparsenet", sparsenet_names, name, SPARSENETS, "masked") for name in SPARSENETS],
    ("shufflenetv2", shufflenet_names, "two stages", SHUFFLENETS, "masked"),
    ("shufflenetv2plus", shufflenet_names, "all units", SHUFFLENETPLUSES, "masked"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "names", "case", "specs", "form"),
    CASES,
    ids=[f"{c[0]} {c[2]} {c[4]}" for c in CASES],
)
def test_network_comes_back(
    family: str,
    names: Callable[[Network], State],
    case: str,
    specs: dict[str, NetworkSpec],
    form: Form,
    tmp_path: Path,
) -> None:
    spec = specs[case]
    network = random_network(spec, form)
    path = tmp_path / "checkpoint.pth"
    torch.save(names(network), path)
    # The classifier's factor is not in a masked file; the masks of its stronger half are.
    overrides = (
        Overrides(
            classifier_condense_factor=spec.head.condense_factor if form == "masked" else None
        )
        if spec.head.condense_factor > 1
        else Overrides()
    )
    found, result = import_checkpoint(path, overrides)
    assert (found, result.form) == (family, form)
    assert result.spec == spec
    read = build(result.spec, result.form).eval()
    read.load_state_dict(result.state_dict)
    # Any size goes through a global pool; this one leaves a pixel after five halvings.
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(read(images), network(images))


@pytest.mark.parametrize("published", [False, True])
def test_densenet_of_torchvision_computes_the_same(
    published: bool, imported: Callable[..., Imported]
) -> None:
    theirs = torchvision_densenet()
    state = theirs.state_dict()
    if published:  # with an older version's names
        state = {re.sub(r"(r\d+\.(?:norm|conv))([12])", r"\1.\2", n): t for n, t in state.items()}
        assert "features.denseblock1.denselayer1.norm.1.weight" in state
    result = imported(state)
    assert [s.depth for s in result.spec.stages] == [2, 3, 1, 1]
    assert (result.spec.stages[0].growth_rate, result.spec.stages[0].bottleneck) == (4, 2)
    ours = build(result.spec).eval()
    ours.load_state_dict(result.state_dict)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_importers_recognise_their_own_only() -> None:
    states = {
        family: names(random_network(specs[case], "masked"))
        for family, names, case, specs, _ in CASES
    }
    states["densenet"] = torchvision_densenet().state_dict()
    assert states.keys() == IMPORTERS.keys()
    for family, state in states.items():
        checkpoint = Checkpoint(state)
        assert [f for f, i in IMPORTERS.items() if i.recognises(checkpoint)] == [family]


def test_parallel_training_files_are_unwrapped(
    imported: Callable[..., Imported], condensenet: State
) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in condensenet.items()}
    result = imported(
        {"epoch": 3, "state_dict": wrapped, "optimizer": {"state": {}}, "best_prec1": 71.0}
    )
    assert result.spec == CONDENSENETS["G = C"]


def test_averaged_weights_are_preferred_unless_told_otherwise(
    imported: Callable[..., Imported], condensenet: State
) -> None:
    bias = "classifier.bias"
    averaged = {**condensenet, bias: torch.ones(6)}
    file = {
        "state_dict": condensenet,
        "state_dict_ema": averaged,
        "args": argparse.Namespace(lr=0.1),
    }
    ours = f"steps.head.{bias}"
    assert torch.equal(imported(file).state_dict[ours], torch.ones(6))
    assert torch.equal(imported(file, entry="state_dict").state_dict[ours], condensenet[bias])


@pytest.mark.parametrize("format", ["safetensors", "old pickle"])
def test_other_formats(format: str, condensenet: State, tmp_path: Path) -> None:
    path = tmp_path / ("net.safetensors" if format == "safetensors" else "net.pth.tar")
    if format == "safetensors":
        save_file({name: t.contiguous() for name, t in condensenet.items()}, path)
    else:
        torch.save(condensenet, path, _use_new_zipfile_serialization=False)
    assert import_checkpoint(path)[1].spec == CONDENSENETS["G = C"]


def test_old_files_without_batch_counts_and_of_half_precision(
    imported: Callable[..., Imported], condensenet: State
) -> None:
    old = {n: t.half() for n, t in condensenet.items() if not n.endswith("num_batches_tracked")}
    result = imported(old)
    build(result.spec, "masked").load_state_dict(result.state_dict)
    assert all(t.dtype != torch.float16 for t in result.state_dict.values())


# --- What the tensors do not say ----------------------------------------------------------------


def rewound(state: State, stage: int, kept: float) -> State:
    """The state as it was at an earlier stage: the same groups keep more."""
    state = dict(state)
    for name in [n for n in state if n.endswith("._mask")]:
        mask = state[name].clone()
        inputs = mask.shape[1]
        for row in mask[:, :, 0, 0]:
            missing = (row == 0).nonzero()[:, 0][: int(kept * inputs) - int(row.sum())]
            row[missing] = 1
        state[name] = mask
        prefix = name.removesuffix("_mask")
        state[f"{prefix}_count"] = torch.tensor([inputs * (1 - kept)])
        state[f"{prefix}_stage"] = torch.tensor([float(stage)])
    return state


def test_factor_is_known_half_way_and_remaining_drops_are_told(
    imported: Callable[..., Imported], condensenet: State
) -> None:
    result = imported(rewound(condensenet, stage=2, kept=0.5))
    assert result.spec == CONDENSENETS["G = C"]
    assert "C 4 from the masks" in result.inferred
    assert "4 of 4 reduce layers still have drops to come" in result.inferred


def test_missed_drops_leave_the_factor_to_convention(
    imported: Callable[..., Imported], condensenet: State
) -> None:
    result = imported(rewound(condensenet, stage=3, kept=0.5))
    assert result.spec == CONDENSENETS["G = C"]
    assert "C 4 (--condense-factor)" in result.assumed
    assert (
        imported(rewound(condensenet, stage=3, kept=0.5), condense_factor=8)
        .spec.stages[0]
        .condense_factor
        == 8
    )


def test_groups_without_drops_are_those_of_the_3x3_or_as_told(
    imported: Callable[..., Imported], condensenet: State
) -> None:
    fresh = rewound(condensenet, stage=0, kept=1.0)
    result = imported(fresh)
    assert result.spec == CONDENSENETS["G = C"]
    assert {"G 4 (--groups)", "C 4 (--condense-factor)"} <= set(result.assumed)
    told = imported(fresh, groups=8, condense_factor=2, image_size=64, stem_stride=2).spec
    assert (told.stages[0].groups_1x1, told.stages[0].condense_factor) == (8, 2)
    assert (told.image_size, told.stem.stride) == (64, 2)


def test_hard_swish_is_assumed_from_stage_3_or_as_told(imported: Callable[..., Imported]) -> None:
    state = condensenet_names(random_network(CONDENSENETV2S["G < S, hard-swish, SE"], "masked"))
    result = imported(state)
    assert [s.activation for s in result.spec.stages] == ["relu", "relu", "hard_swish"]
    assert any("hard-swish from stage 3" in note for note in result.assumed)
    told = imported(state, hard_swish_from_stage=2).spec
    assert [s.activation for s in told.stages] == ["relu", "hard_swish", "hard_swish"]


@pytest.mark.parametrize("compression", [1.0, 0.5, 0.37, 0.125])
def test_compression_is_found_from_widths(compression: float) -> None:
    widths = [(n, int(n * compression + 1e-6)) for n in (60, 154, 203)]
    found = transition_spec(widths).compression
    assert [int(n * found + 1e-6) for n, _ in widths] == [out for _, out in widths]


def test_compression_is_found_below_rounding_to_groups() -> None:
    widths = [(n, -(-int(n * 0.37) // 8) * 8) for n in (64, 152, 200)]
    fit = partial(transition_spec, kind="learned", groups_1x1=8, condense_factor=4)
    found = fit(widths)
    assert (found.kind, found.groups_1x1, found.condense_factor) == ("learned", 8, 4)
    assert [-(-int(n * found.compression) // 8) * 8 for n, _ in widths] == [o for _, o in widths]
    assert fit([(64, 32)]).compression == 0.5
    assert transition_spec([]) == TransitionSpec()


def test_widths_of_no_compression_are_refused() -> None:
    with pytest.raises(UserError, match="no single compression"):
        transition_spec([(60, 30), (60, 31)])


# --- What cannot be read ------------------------------------------------------------------------

LAYER = "features.denseblock_1.denselayer_2"
LAST = "features.denseblock_2.denselayer_2"


def without(state: State, start: str) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(start)}


BROKEN: dict[str, tuple[Callable[[State], State], str]] = {
    "missing": (lambda s: without(s, f"{LAYER}.conv_2"), f"lacks `{LAYER}.conv_2"),
    "gap": (lambda s: without(s, "features.denseblock_1.denselayer_1.conv_2."), "lacks"),
    "gap in layers": (
        lambda s: {n.replace("denselayer_2", "denselayer_3"): t for n, t in s.items()},
        "gaps around stage 1, layer 2",
    ),
    "shape": (
        lambda s: {**s, f"{LAYER}.conv_1.norm.bias": torch.zeros(7)},
        r"has the shape \(7,\) and must have \(24\)",
    ),
    "extra": (
        lambda s: {**s, "auxiliary.weight": torch.zeros(2)},
        "`auxiliary.weight` that this family",
    ),
    "no groups": (
        lambda s: {**s, f"{LAST}.conv_1._mask": torch.eye(64, 48)[:, :, None, None]},
        "do not fit any number of groups",
    ),
    "too few kept": (
        lambda s: {**s, f"{LAYER}.conv_1._mask": torch.zeros(32, 24, 1, 1)},
        "keeps fewer than 6 of 24 channels",
    ),
    "no mask": (
        lambda s: {**s, f"{LAYER}.conv_1._mask": s[f"{LAYER}.conv_1._mask"] / 2},
        "zeros and ones only",
    ),
    "not finite": (
        lambda s: {**s, "classifier.bias": torch.full((6,), torch.nan)},
        "numbers that are not finite",
    ),
    "half converted": (
        lambda s: {**s, f"{LAYER}.conv_1.index": torch.zeros(24)},
        "both masks and indexes",
    ),
    "mask without layer": (
        lambda s: {**s, "features.transition_1.conv._mask": torch.ones(16, 32, 1, 1)},
        "`features.transition_1.conv._mask` that this family",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_states_are_refused(
    case: str, imported: Callable[..., Imported], condensenet: State
) -> None:
    change, message = BROKEN[case]
    with pytest.raises(UserError, match=message):
        imported(change(condensenet))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("conv_1.index", 24, "must name channels from 0 to 23"),
        ("sfr.index", 2, "a single one in each row"),
    ],
)
def test_broken_indexes_are_refused(
    name: str,
    value: int,
    message: str,
    imported: Callable[..., Imported],
    condensenetv2: State,
) -> None:
    condensenetv2[f"{LAYER}.{name}"] = torch.full_like(condensenetv2[f"{LAYER}.{name}"], value)
    with pytest.raises(UserError, match=message):
        imported(condensenetv2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"groups": 2}, "do not fit G = 2"),
        ({"condense_factor": 2}, "keeps fewer than 8 of 16"),
        ({"sparse_factor": 4}, r"--sparse-factor \(=4\) must be 1"),
        ({"hard_swish_from_stage": 3}, "--hard-swish-from-stage"),
        ({"classifier_condense_factor": 1000}, "at most the features"),
    ],
)
def test_what_the_user_says_must_fit(
    overrides: dict[str, int],
    message: str,
    imported: Callable[..., Imported],
    condensenet: State,
) -> None:
    with pytest.raises(UserError, match=message):
        imported(condensenet, **overrides)


class Foreign:
    """What a file could hold besides tensors."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"a": torch.ones(1)}, "extra": Foreign()}, "an object of .*Foreign"),
        ({"conv1.weight": torch.ones(1).to_sparse()}, "dense and not quantised"),
        ({"epoch": 1}, "no tensors under .* its entries: epoch"),
        ([1, 2], "holds a list and must hold a state_dict"),
        ({"conv1.weight": torch.ones(1)}, r"\(conv1.weight, ...\) are not named"),
    ],
)
def test_files_of_other_things_are_refused(
    content: object, message: str, imported: Callable[..., Imported]
) -> None:
    with pytest.raises(UserError, match=message):
        imported(content)


def test_unknown_entry_is_refused(imported: Callable[..., Imported], condensenet: State) -> None:
    with pytest.raises(UserError, match="no tensors under `ema`; its entries: state_dict"):
        imported({"state_dict": condensenet}, entry="ema")


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"not a checkpoint " * 20])
def test_damaged_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=name):
        import_checkpoint(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="was looked for and is not a file"):
        import_checkpoint(tmp_path / "absent.pth")


def test_shufflenet_says_where_hard_swish_begins(imported: Callable[..., Imported]) -> None:
    state = shufflenet_names(random_network(SHUFFLENETPLUSES["all units"], "masked"))
    told = imported(state, hard_swish_from_stage=3, image_size=96)
    assert [s.activation for s in told.spec.stages] == ["relu", "relu", "hard_swish"]
    assert told.spec.image_size == 96
    with pytest.raises(UserError, match=r"--groups \(=4\) must be 1"):
        imported(state, groups=4)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("features.0.branch_proj", "lacks `features.0.branch_proj.0.weight`"),
        ("features.3.branch_main.5", "lacks `features.3.branch_main.5.weight`"),
        ("features.3", "holds `features.4.branch_main"),
        ("conv_last", "lacks `conv_last.1.weight`"),
    ],
)
def test_incomplete_shufflenets_are_refused(
    start: str, message: str, imported: Callable[..., Imported]
) -> None:
    state = shufflenet_names(random_network(SHUFFLENETS["two stages"], "masked"))
    with pytest.raises(UserError, match=message):
        imported(without(state, start))
