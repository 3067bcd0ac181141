"""Networks in torch: what they compute, and that condensing them changes nothing."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from search_space import ZOO, DenseStage, HeadSpec, NetworkSpec, StemSpec, build
from search_space.backbones import FeatureMaps
from search_space.modules import Gather, IndexAdd, LearnedClassifier, LearnedLayer
from search_space.network import Network, check_conversion


def trained(spec: NetworkSpec, *, progress: float = 1.0, seed: int = 0) -> Network:
    """A masked network as training may leave it: any norms, negative scales among them."""
    g = torch.Generator().manual_seed(seed)
    network = build(spec, generator=g)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                signs = torch.randint(0, 2, module.weight.shape, generator=g) * 2 - 1
                module.weight.uniform_(0.5, 1.5, generator=g).mul_(signs)
                module.bias.normal_(std=0.5, generator=g)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(std=0.5, generator=g)
                module.running_var.uniform_(0.5, 2.0, generator=g)
            elif isinstance(module, nn.Linear | LearnedClassifier) and module.bias is not None:
                module.bias.normal_(generator=g)
    network.condense(progress)
    return network.eval()


def images(spec: NetworkSpec, batch: int = 2) -> Tensor:
    shape = (batch, spec.image_channels, spec.image_size, spec.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def distance(one: nn.Module, other: nn.Module, x: Tensor) -> float:
    """The largest difference of logits, relative to the largest logit."""
    expected = one(x)
    assert expected.isfinite().all()
    return float((other(x) - expected).abs().max() / expected.abs().max())


def small(spec: NetworkSpec) -> NetworkSpec:
    """The same network for an image that its stages halve to a few pixels."""
    return spec.replace(image_size=96 if spec.image_size == 224 else 8)


# --- The condensed form -----------------------------------------------------------------------


def test_condensing_changes_nothing(variant: NetworkSpec) -> None:
    masked = trained(variant)
    condensed = masked.to_inference()
    assert condensed.form == "condensed"
    assert distance(masked, condensed, images(variant)) < 1e-5


def test_condensing_changes_nothing_in_double_precision(variant: NetworkSpec) -> None:
    masked = trained(variant).double()
    condensed = masked.to_inference()
    assert {p.dtype for p in condensed.parameters()} == {torch.float64}
    assert distance(masked, condensed, images(variant).double()) < 1e-10


OF_EACH_FAMILY = (
    *("condensenet-50", "condensenet-light-94", "condensenet-a", "condensenetv2-110"),
    *("condensenetv2-a", "condensenetv2-a-without-se-hs", "condensenetv2-b-without-sfr"),
    *("shufflenetv2-x0.5", "sfr-shufflenetv2-x0.5"),
    *("shufflenetv2plus-s", "sfr-shufflenetv2plus-s"),
    *("sparsenet-40-k12", "sparsenet-bc-100-k12", "sparsenet-sum-56", "sparsenet-121"),
    *("densenet-40-k12", "densenet-bc-100-k12", "resnet-56", "resnet-50"),
)


@pytest.mark.parametrize("name", OF_EACH_FAMILY)
def test_condensing_the_zoo_changes_nothing(name: str) -> None:
    spec = small(ZOO[name])
    masked = trained(spec)
    assert distance(masked, masked.to_inference(), images(spec, 1)) < 1e-5


def test_condensed_layers_hold_what_the_cost_says(variant: NetworkSpec) -> None:
    condensed = trained(variant).to_inference()
    assert condensed.learned_layers == {}
    built = build(variant, "condensed")
    assert {k: v.shape for k, v in condensed.state_dict().items()} == {
        k: v.shape for k, v in built.state_dict().items()
    }


def test_the_comparison_is_not_of_trivial_masks(variant: NetworkSpec) -> None:
    masked = trained(variant)
    for layer in masked.learned_layers.values():
        index = layer.kept_index()
        groups, kept = index.shape
        first = torch.arange(kept).expand(groups, kept)
        assert not index.equal(first)
        if groups > 1:
            assert len(set(map(tuple, index.tolist()))) > 1


WITH_GATHER = ("G=C=4", "G=2 C=4", "classifier C=2", "base 2, reactivating")
WITH_INDEX_ADD = ("S=4", "S=2 of 4 groups", "base 3, reactivating")


@pytest.mark.parametrize("name", WITH_GATHER)
def test_a_wrong_gather_is_noticed(name: str, variant_named: Callable[[str], NetworkSpec]) -> None:
    assert_indices_matter(trained(variant_named(name)), Gather)


@pytest.mark.parametrize("name", WITH_INDEX_ADD)
def test_a_wrong_index_add_is_noticed(
    name: str, variant_named: Callable[[str], NetworkSpec]
) -> None:
    assert_indices_matter(trained(variant_named(name)), IndexAdd)


def assert_indices_matter(masked: Network, kind: type[Gather] | type[IndexAdd]) -> None:
    x = images(masked.spec)
    condensed = masked.to_inference()
    found = [m for m in condensed.modules() if isinstance(m, kind)]
    assert found
    for module in found:
        right = module.index.clone()
        module.index.copy_(right.roll(1))
        assert distance(masked, condensed, x) > 1e-4
        module.index.copy_(right)
        assert distance(masked, condensed, x) < 1e-5


@pytest.mark.parametrize(
    "name", ["G=C=4", "G=4 C=3 indivisible", "S=2 of 4 groups", "classifier C=2", "base 2"]
)
def test_a_wrong_mask_is_noticed(name: str, variant_named: Callable[[str], NetworkSpec]) -> None:
    variant = variant_named(name)
    masked = trained(variant)
    condensed = masked.to_inference()
    x = images(variant)
    for layer in masked.learned_layers.values():
        right = layer.mask.clone()
        layer.mask.copy_(right.roll(1, dims=1))
        assert distance(masked, condensed, x) > 1e-4
        layer.mask.copy_(right)


@pytest.mark.parametrize("progress", [0.0, 0.2, 0.49])
def test_a_network_with_drops_to_come_is_not_converted(progress: float) -> None:
    masked = trained(ZOO["condensenet-86"], progress=progress)
    name = "steps.stage1_layer1.reduce"
    with pytest.raises(ValueError, match=f"{name} still has drops to come; call condense"):
        masked.to_inference()


def test_one_layer_with_drops_to_come_is_named() -> None:
    masked = trained(ZOO["condensenet-86"])
    layer = masked.get_submodule("steps.stage2_layer3.reduce")
    assert isinstance(layer, LearnedLayer)
    layer.mask.fill_(True)
    with pytest.raises(ValueError, match=r"steps\.stage2_layer3\.reduce still has drops"):
        masked.to_inference()


def test_a_condensed_network_is_not_converted_again(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    condensed = trained(variant_named("S=4")).to_inference()
    with pytest.raises(ValueError, match="condensed form already"):
        condensed.to_inference()
    with pytest.raises(ValueError, match="condensed form already"):
        build(variant_named("S=4"), "condensed").to_inference()


def test_a_network_that_learns_nothing_is_converted_at_once(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    spec = variant_named("dense 1x1")
    masked = trained(spec, progress=0.0)
    assert distance(masked, masked.to_inference(), images(spec)) == 0


def test_conversion_leaves_the_masked_network_as_it_was(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    masked = trained(variant_named("wide head"))
    before = {name: value.clone() for name, value in masked.state_dict().items()}
    condensed = masked.to_inference()
    with torch.no_grad():
        for value in condensed.state_dict().values():
            value.zero_()
    after = masked.state_dict()
    assert list(after) == list(before)
    assert all(after[name].equal(before[name]) for name in before)


@pytest.mark.parametrize("training", [True, False])
def test_conversion_keeps_the_mode(
    training: bool, variant_named: Callable[[str], NetworkSpec]
) -> None:
    masked = trained(variant_named("G=C=4")).train(training)
    assert masked.to_inference().training is training


def test_conversion_leaves_torchs_generator_alone(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    masked = trained(variant_named("S=4"))
    before = torch.get_rng_state()
    masked.to_inference()
    assert torch.get_rng_state().equal(before)


# --- What a network computes ------------------------------------------------------------------


def grouped_by_hand(layer: LearnedLayer, x: Tensor, *, inputs_first: bool) -> Tensor:
    """A learned 1x1 convolution, one pair of channels at a time."""
    weight, groups = layer.weight.detach()[:, :, 0, 0], layer.mask.shape[0]
    y = torch.zeros(x.shape[0], weight.shape[0], *x.shape[2:], dtype=x.dtype)
    for r in range(weight.shape[0]):
        for c in range(weight.shape[1]):
            on = layer.mask[r % groups, c] if inputs_first else layer.mask[c % groups, r]
            if on:
                y[:, r] += weight[r, c] * x[:, c]
    return y


@torch.no_grad()
def test_an_exponential_reactivating_network_by_hand() -> None:
    """SparseNet's fetching of CondenseNetV2's layers, written out after the papers."""
    spec = NetworkSpec(
        image_size=6,
        classes=3,
        stem=StemSpec(channels=6),
        stages=(
            DenseStage(
                depth=4,
                growth_rate=4,
                bottleneck=2,
                groups_1x1=4,
                condense_factor=2,
                groups_3x3=2,
                sfr="all",
                sparse_factor=3,
                sfr_groups=2,
                fetch="exponential",
                activation="hard_swish",
            ),
        ),
    )
    network = trained(spec).double()
    part = network.get_submodule
    x = images(spec).double()

    outputs = [part("steps.stem.conv")(x)]
    # SparseNet, equation 2 with c = 2, and once more for what leaves the stage.
    for layer, read in enumerate([(0,), (0, 1), (1, 2), (0, 2, 3)], start=1):
        at = f"steps.stage1_layer{layer}"

        def norm_act(name: str, y: Tensor, at: str = at) -> Tensor:
            y = part(f"{at}.{name}_norm")(y)
            return y * (y + 3).clamp(0, 6) / 6

        fetched = torch.cat([outputs[i] for i in read], 1)
        reduce, sfr = part(f"{at}.reduce"), part(f"{at}.sfr")
        assert isinstance(reduce, LearnedLayer)
        assert isinstance(sfr, LearnedLayer)
        inner = grouped_by_hand(reduce, norm_act("reduce", fetched), inputs_first=True)
        new = part(f"{at}.conv")(norm_act("conv", inner))
        updated = fetched + grouped_by_hand(sfr, norm_act("sfr", new), inputs_first=False)
        widths = [outputs[i].shape[1] for i in read]
        for i, value in zip(read, updated.split(widths, 1), strict=True):
            outputs[i] = value
        outputs.append(new)
    last = torch.cat([outputs[i] for i in (1, 3, 4)], 1)
    pooled = part("steps.head.final_norm")(last).relu().mean((2, 3))
    classifier = part("steps.head.classifier")
    logits = pooled @ classifier.weight.T + classifier.bias

    torch.testing.assert_close(network(x), logits)
    torch.testing.assert_close(network.to_inference()(x), logits)


def test_a_dense_stage_appends_what_it_learns(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    network = trained(variant_named("G=C=4"))
    x = torch.randn(2, 12, 8, 8, generator=torch.Generator().manual_seed(2))
    (y,) = network.get_submodule("steps.stage1_layer1")(x)
    assert y.shape == (2, 20, 8, 8)
    assert y[:, :12].equal(x)


def test_reactivation_changes_only_what_a_group_kept(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    network = trained(variant_named("S=8 of 2 groups"))
    layer = network.get_submodule("steps.stage1_layer1.sfr")
    assert isinstance(layer, LearnedLayer)
    x = torch.randn(2, 12, 8, 8, generator=torch.Generator().manual_seed(2))
    (y,) = network.get_submodule("steps.stage1_layer1")(x)
    changed = (y[:, :12] != x).flatten(2).any(2).any(0)
    assert changed.equal(layer.mask.any(0))
    assert changed.sum() in (1, 2)


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_images_of_any_number_of_channels(form: str) -> None:
    spec = NetworkSpec(
        image_size=8,
        classes=7,
        image_channels=1,
        stem=StemSpec(channels=4, kernel=5, stride=2),
        stages=(DenseStage(depth=1, growth_rate=4),),
        head=HeadSpec(se_reduction=2),
    )
    assert build(spec, form)(images(spec, 3)).shape == (3, 7)


@pytest.mark.parametrize("name", ["condensenet-50", "condensenetv2-a", "sparsenet-40-k12"])
def test_odd_sizes_lose_their_last_row_and_column(name: str) -> None:
    # 13, 6, 3 pixels; with a stem of stride 2: 7, 3, 1.
    spec = ZOO[name].replace(image_size=13, stages=ZOO[name].stages[:3])
    masked = trained(spec)
    assert masked(images(spec)).shape == (2, spec.classes)
    assert distance(masked, masked.to_inference(), images(spec)) < 1e-5


# --- Training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wide head", "S=2 of 4 groups", "classifier C=2", "every-2"])
def test_gradients_reach_every_kept_parameter(
    name: str, variant_named: Callable[[str], NetworkSpec]
) -> None:
    network = trained(variant_named(name)).train()
    network(images(network.spec, 8)).square().sum().backward()
    learned = {f"{n}.weight": layer for n, layer in network.learned_layers.items()}
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all()
        assert parameter.grad.any(), parameter_name
        if parameter_name in learned:
            on = learned[parameter_name].expanded_mask().expand_as(parameter)
            assert (parameter.grad[on] != 0).all(), parameter_name
            assert (parameter.grad[~on] == 0).all(), parameter_name


def test_one_network_condenses_without_the_other(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    spec = variant_named("S=4")
    one, other = build(spec), build(spec)
    one.condense(1.0)
    assert all(layer.is_condensed for layer in one.learned_layers.values())
    assert all(layer.mask.all() for layer in other.learned_layers.values())
    assert all(layer.mask.all() for layer in build(spec).learned_layers.values())


def test_evaluating_and_training_do_not_condense(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    network = trained(variant_named("wide head"), progress=0.2)
    before = {n: layer.mask.clone() for n, layer in network.learned_layers.items()}
    assert not all(mask.all() for mask in before.values())
    network.train()(images(network.spec)).sum().backward()
    network.eval()(images(network.spec))
    assert all(layer.mask.equal(before[n]) for n, layer in network.learned_layers.items())


def test_learned_layers_are_named(variant_named: Callable[[str], NetworkSpec]) -> None:
    spec = variant_named("classifier C=2")
    assert list(build(spec).learned_layers) == [
        "steps.stage1_layer1.reduce",
        "steps.stage1_layer2.reduce",
        "steps.head.classifier",
    ]


def test_progress_outside_its_range_is_refused(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    with pytest.raises(ValueError, match="progress"):
        build(variant_named("S=4")).condense(1.5)


def test_a_saved_network_goes_on_where_it_was(
    variant_named: Callable[[str], NetworkSpec],
) -> None:
    spec = variant_named("wide head")
    one = trained(spec, progress=0.3)
    other = build(spec)
    other.load_state_dict(one.state_dict())
    assert distance(one, other.eval(), images(spec)) == 0
    one.condense(1.0)
    other.condense(1.0)
    assert distance(one, other, images(spec)) == 0


# --- Initial weights --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_one_seed_gives_one_network(form: str, variant_named: Callable[[str], NetworkSpec]) -> None:
    def state(seed: int) -> dict[str, Tensor]:
        g = torch.Generator().manual_seed(seed)
        spec = variant_named("wide head")
        return build(spec, form, generator=g).state_dict()

    one, same, other = state(3), state(3), state(4)
    assert all(one[name].equal(same[name]) for name in one)
    assert not all(one[name].equal(other[name]) for name in one)


def test_initial_weights_are_the_papers() -> None:
    network = build(ZOO["condensenetv2-a"], generator=torch.Generator().manual_seed(0))
    # Deviation sqrt(2 / (kernel^2 x outputs)), with all outputs even of a grouped convolution.
    for name, deviation in (
        ("steps.stage4_layer1.reduce", (2 / 128) ** 0.5),
        ("steps.stage4_layer1.conv", (2 / (9 * 32)) ** 0.5),
    ):
        weight = network.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        assert weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert weight.mean().item() == pytest.approx(0, abs=deviation / 10)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
        elif isinstance(module, nn.Linear):
            assert module.weight.abs().max() <= module.in_features**-0.5
            assert module.bias is None or (module.bias == 0).all()


def test_building_from_a_generator_leaves_torchs_own_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    build(ZOO["condensenet-86"], generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", [Network, FeatureMaps])
def test_a_wrong_conversion_is_noticed(kind: type[Network]) -> None:
    """The check that the trainers make before they score."""
    spec = ZOO["condensenet-86"]
    masked = kind(spec, generator=torch.Generator().manual_seed(0)).eval()
    masked.condense(1.0)
    condensed = masked.to_inference()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    check_conversion(masked, condensed, images)
    gather = next(m for m in condensed.modules() if isinstance(m, Gather))
    gather.index.copy_(gather.index.flip(0))
    with pytest.raises(RuntimeError, match=f"the condensed form of {spec.id}"):
        check_conversion(masked, condensed, images)
