"""Recomputation: the same numbers, each batch counted once, fewer bytes held."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from search_space import NetworkSpec, build
from search_space.network import Network
from search_space.recompute import recomputed, scratch_buffers


@pytest.fixture
def a_spec(variant_named: Callable[[str], NetworkSpec]) -> NetworkSpec:
    """Learned groups, reactivation and exponential fetch in one."""
    return variant_named("base 2, reactivating")


def networks(spec: NetworkSpec) -> tuple[Network, Network]:
    """The same network plain and recomputing, half condensed."""
    plain, recomputing = (build(spec, generator=torch.Generator().manual_seed(0)) for _ in "12")
    recomputing.recompute = True
    for network in (plain, recomputing):
        network.condense(0.5)
    return plain, recomputing


def images(spec: NetworkSpec) -> Tensor:
    shape = (2, spec.image_channels, spec.image_size, spec.image_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def held_bytes(network: Network, x: Tensor) -> int:
    """What the backward pass keeps, parameters and buffers aside, each storage once."""
    held: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(x)
    assert output.requires_grad
    own = {t.untyped_storage().data_ptr() for t in network.state_dict().values()}
    return sum(t.untyped_storage().nbytes() for pointer, t in held.items() if pointer not in own)


def test_training_computes_the_same_bits(variant: NetworkSpec) -> None:
    trained = networks(variant)
    for network in trained:
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        for _ in range(2):
            optimiser.zero_grad()
            network(images(variant)).square().mean().backward()
            optimiser.step()
    plain, recomputing = (network.state_dict() for network in trained)
    # Running statistics and their counts among them: a batch counted twice would show.
    assert [name for name in plain if not plain[name].equal(recomputing[name])] == []
    assert {int(v) for name, v in recomputing.items() if name.endswith("num_batches_tracked")} == {
        2
    }
    for one, other in zip(*(network.parameters() for network in trained), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert one.grad.equal(other.grad)


def test_the_condensed_form_recomputes_too(variant: NetworkSpec) -> None:
    masked = build(variant, generator=torch.Generator().manual_seed(0))
    masked.condense(1.0)
    gradients = []
    for recompute in (False, True):
        condensed = masked.to_inference()
        condensed.recompute = recompute
        condensed(images(variant)).square().mean().backward()
        gradients.append([p.grad for p in condensed.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        assert one.equal(other)


def test_less_is_held_for_the_backward_pass(variant: NetworkSpec) -> None:
    plain, recomputing = networks(variant)
    x = images(variant)
    assert 0 < held_bytes(recomputing, x) < 0.6 * held_bytes(plain, x)


def test_nothing_is_recomputed_where_there_is_no_backward_pass(
    a_spec: NetworkSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, recomputing = (network.eval() for network in networks(a_spec))
    monkeypatch.delattr("search_space.network.recomputed")
    with torch.no_grad():
        assert recomputing(images(a_spec)).equal(plain(images(a_spec)))


def test_frozen_norms_recompute_too(a_spec: NetworkSpec) -> None:
    gradients = []
    for network in networks(a_spec):
        network.eval()(images(a_spec)).square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        assert one.equal(other)


def test_a_change_of_mode_before_the_backward_pass_is_an_error(a_spec: NetworkSpec) -> None:
    _, recomputing = networks(a_spec)
    loss = recomputing(images(a_spec)).sum()
    recomputing.eval()
    with pytest.raises(CheckpointError):
        loss.backward()


def test_the_switch_is_off_and_no_part_of_the_state(a_spec: NetworkSpec) -> None:
    plain, recomputing = networks(a_spec)
    assert not plain.recompute
    assert plain.state_dict().keys() == recomputing.state_dict().keys()
    assert plain.spec == recomputing.spec


def test_scratch_buffers_leave_no_trace() -> None:
    norm = nn.BatchNorm2d(3)
    mean, count = norm.running_mean, norm.num_batches_tracked
    assert mean is not None
    assert count is not None
    with scratch_buffers(norm):
        norm(torch.ones(2, 3, 4, 4))
        assert norm.running_mean is not mean
        assert int(norm.num_batches_tracked or 0) == 1
    assert norm.running_mean is mean
    assert norm.num_batches_tracked is count
    assert mean.equal(torch.zeros(3))
    assert int(count) == 0


def test_what_was_dropped_out_is_dropped_out_again() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 8))
    inputs = torch.ones(4, 8)
    gradients = []
    for run in (module, partial(recomputed, module)):
        module.zero_grad()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            output = run(inputs)
        output.square().sum().backward()
        gradients.append([p.grad.clone() for p in module.parameters() if p.grad is not None])
    assert len(gradients[0]) == 4
    assert all(map(torch.equal, *gradients))
