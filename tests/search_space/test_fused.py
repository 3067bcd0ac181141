"""A network trained with fused operations is the network without."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from search_space import ZOO, NetworkSpec, build
from search_space.fused import units_of
from search_space.network import FragmentModule, Network


@pytest.fixture
def a_spec(variant_named: Callable[[str], NetworkSpec]) -> NetworkSpec:
    return variant_named("S=4")


def network(spec: NetworkSpec, layout: torch.memory_format = torch.channels_last) -> Network:
    """In double precision, half condensed."""
    made = build(spec, generator=torch.Generator().manual_seed(0)).double()
    made.condense(0.25)
    return made.to(memory_format=layout)


def images(spec: NetworkSpec) -> Tensor:
    shape = (3, spec.image_channels, spec.image_size, spec.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def trained(model: nn.Module, spec: NetworkSpec) -> dict[str, Tensor]:
    """Output, gradients, parameters and buffers after two steps."""
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    output = torch.empty(0)
    for _ in range(2):
        optimiser.zero_grad()
        output = model(images(spec))
        torch.autograd.backward(output.square().mean())
        optimiser.step()
    gradients = {f"gradient of {n}": p.grad for n, p in model.named_parameters()}
    assert all(g is not None for g in gradients.values())
    found = {"output": output.detach(), **gradients, **model.state_dict()}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-7, atol=1e-9, msg=name)


def noted(module: nn.Module, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds the kind of the module to the list whenever it runs by itself."""
    forward = module.forward

    def noting(*args: Tensor) -> Tensor:
        found.append(type(module).__name__)
        result: Tensor = forward(*args)
        return result

    monkeypatch.setattr(module, "forward", noting)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_training_is_that_of_the_modules_one_by_one(
    variant: NetworkSpec, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = trained(network(variant, layout), variant)
    monkeypatch.setattr("search_space.network.computed_as_one", lambda *args: None)
    assert_same(fused, trained(network(variant, layout), variant))


def test_units_are_the_operations_in_their_order(variant: NetworkSpec) -> None:
    for step in variant.plan("masked").steps:
        units = units_of(step.fragment)
        assert tuple(op for unit in units for op in unit) == step.fragment.ops


@pytest.mark.parametrize("name", sorted(ZOO))
def test_nobody_else_reads_what_lies_inside_a_unit(name: str) -> None:
    for fragment in {step.fragment for step in ZOO[name].plan("masked").steps}:
        units = units_of(fragment)
        for i, unit in enumerate(units):
            inside = {v.name for op in unit[:-1] for v in op.outputs}
            others = (op for n, other in enumerate(units) if n != i for op in other)
            read = {v.name for op in others for v in op.inputs}
            assert not inside & (read | {v.name for v in fragment.outputs})


@pytest.mark.parametrize(
    ("name", "lengths"),
    [("condensenet-86", [3, 1, 1, 1, 1]), ("condensenetv2-110", [3, 1, 1, 1, 5])],
)
def test_a_layer_is_few_units(name: str, lengths: list[int]) -> None:
    step = next(s for s in ZOO[name].plan("masked").steps if s.name == "stage2_layer3")
    assert [len(unit) for unit in units_of(step.fragment)] == lengths


def test_only_training_is_fused(a_spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(a_spec)
    found: list[str] = []
    for module in model.modules():
        if not list(module.children()):
            noted(module, found, monkeypatch)
    model(images(a_spec))
    assert "SparseReactivation" not in found
    assert "LearnedGroupConv" not in found
    with torch.no_grad():
        model(images(a_spec))
    assert "SparseReactivation" in found
    assert "LearnedGroupConv" in found


@pytest.mark.parametrize("kind", ["norm", "hook"])
def test_what_somebody_changed_runs_by_itself(a_spec: NetworkSpec, kind: str) -> None:
    model = network(a_spec)
    step = model.steps["stage1_layer1"]
    assert isinstance(step, FragmentModule)
    seen: list[int] = []
    if kind == "hook":
        step.reduce.register_forward_hook(lambda *args: seen.append(1))
    else:
        own = nn.Identity()
        own.register_forward_hook(lambda *args: seen.append(1))
        step.reduce_norm = own
    model(images(a_spec))
    assert seen == [1]


def test_a_norm_of_a_single_position_is_refused_as_by_torch() -> None:
    spec = ZOO["condensenet-50"].replace(image_size=8)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        build(spec)(torch.randn(1, 3, 4, 4))


def test_copies_train_alike(a_spec: NetworkSpec) -> None:
    model = network(a_spec)
    model(images(a_spec))
    copied, loaded = copy.deepcopy(model), network(a_spec)
    loaded.condense(1.0)
    loaded.load_state_dict(model.state_dict())
    expected = trained(model, a_spec)
    assert_same(expected, trained(copied, a_spec))
    assert_same(expected, trained(loaded, a_spec))


def test_it_trains_distributed(a_spec: NetworkSpec, tmp_path: object) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        # 1x1 weights in channels-last memory make it warn of strides that are all the same.
        model, other = (network(a_spec, torch.contiguous_format) for _ in "12")
        wrapped = nn.parallel.DistributedDataParallel(other)
        expected = trained(model, a_spec)
        found = {n.replace("module.", "", 1): t for n, t in trained(wrapped, a_spec).items()}
        assert_same(expected, found)
    finally:
        torch.distributed.destroy_process_group()


def test_a_compiler_sees_one_graph_of_the_same_numbers(a_spec: NetworkSpec) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(network(a_spec), backend="eager", fullgraph=True)
    found = {n.replace("_orig_mod.", ""): t for n, t in trained(compiled, a_spec).items()}
    assert_same(trained(network(a_spec), a_spec), found)


@pytest.mark.parametrize("name", ["resnet-56", "sparsenet-sum-56"])
def test_residual_networks_train(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ZOO[name]
    found = trained(network(spec), spec)
    monkeypatch.setattr("search_space.network.computed_as_one", lambda *args: None)
    assert_same(found, trained(network(spec), spec))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_half_precision_trains(a_spec: NetworkSpec, dtype: torch.dtype) -> None:
    model = network(a_spec).to(dtype)
    torch.autograd.backward(model(images(a_spec).to(dtype)).float().square().mean())
    assert all(p.grad is not None and p.grad.dtype == dtype for p in model.parameters())
    assert all(b.dtype == dtype for n, b in model.named_buffers() if "running" in n)
