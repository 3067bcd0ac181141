"""The operations of small networks, by hand."""

import pytest

from search_space import ZOO, DenseStage, NetworkSpec, StemSpec, TransitionSpec, ops
from search_space.plan import Form, Fragment, Plan, part, stage_of


def network(*stages: DenseStage, transition: TransitionSpec | None = None) -> NetworkSpec:
    return NetworkSpec(
        image_size=8,
        classes=10,
        stem=StemSpec(channels=6),
        stages=stages,
        transition=transition or TransitionSpec(),
    )


V1 = DenseStage(depth=1, growth_rate=4, bottleneck=2, groups_1x1=4, condense_factor=3, groups_3x3=2)
V2 = DenseStage(
    depth=1,
    growth_rate=4,
    bottleneck=2,
    groups_1x1=4,
    condense_factor=3,
    groups_3x3=2,
    sfr="all",
    sparse_factor=3,
    sfr_groups=2,
    se_reduction=2,
    activation="hard_swish",
)


def fragment(spec: NetworkSpec, form: Form, step: str = "stage1_layer1") -> Fragment:
    return next(s.fragment for s in spec.plan(form).steps if s.name == step)


def rows(spec: NetworkSpec, form: Form, step: str = "stage1_layer1") -> list[tuple[object, ...]]:
    """Name, class, channels written, groups where there are several."""
    return [
        (op.name, type(op).__name__, op.output.channels)
        + ((op.groups,) if getattr(op, "groups", 1) > 1 else ())
        for op in fragment(spec, form, step).ops
    ]


def test_a_masked_condensenet_layer() -> None:
    assert rows(network(V1), "masked") == [
        ("reduce_norm", "Norm", 6),
        ("reduce_act", "Activation", 6),
        ("reduce", "LearnedConv", 8, 4),
        ("conv_norm", "Norm", 8),
        ("conv_act", "Activation", 8),
        ("conv", "Conv", 4, 2),
        ("features", "Concat", 10),
    ]


def test_a_condensed_condensenet_layer_norms_what_it_gathered() -> None:
    # 4 groups keep floor(6 / 3) inputs each.
    assert rows(network(V1), "condensed") == [
        ("reduce_gather", "Gather", 8),
        ("reduce_norm", "Norm", 8),
        ("reduce_act", "Activation", 8),
        ("reduce", "Conv", 8, 4),
        ("reduce_shuffle", "Shuffle", 8, 4),
        ("conv_norm", "Norm", 8),
        ("conv_act", "Activation", 8),
        ("conv", "Conv", 4, 2),
        ("features", "Concat", 10),
    ]


def test_a_masked_condensenetv2_layer() -> None:
    assert rows(network(V2), "masked") == [
        ("reduce_norm", "Norm", 6),
        ("reduce_act", "Activation", 6),
        ("reduce", "LearnedConv", 8, 4),
        ("conv_norm", "Norm", 8),
        ("conv_act", "Activation", 8),
        ("conv", "Conv", 4, 2),
        ("se", "SqueezeExcite", 4),
        ("sfr_norm", "Norm", 4),
        ("sfr_act", "Activation", 4),
        ("sfr", "LearnedReactivation", 6, 2),
        ("sfr_add", "Add", 6),
        ("features", "Concat", 10),
    ]


def test_a_condensed_condensenetv2_layer_adds_at_an_index() -> None:
    # 2 groups update floor(6 / 3) features each; the shuffle undoes their interleaving.
    assert rows(network(V2), "condensed")[8:] == [
        ("se", "SqueezeExcite", 4),
        ("sfr_norm", "Norm", 4),
        ("sfr_act", "Activation", 4),
        ("sfr_shuffle", "Shuffle", 4, 2),
        ("sfr", "Conv", 4, 2),
        ("sfr_add", "IndexAdd", 6),
        ("features", "Concat", 10),
    ]


def test_activations_are_those_of_the_stage() -> None:
    for stage, kind in ((V1, "relu"), (V2, "hard_swish")):
        found = fragment(network(stage), "masked").ops
        assert {op.kind for op in found if isinstance(op, ops.Activation)} == {kind}


def test_a_layer_without_bottleneck_convolves_what_it_reads() -> None:
    stage = DenseStage(depth=1, growth_rate=4, bottleneck=0)
    assert rows(network(stage), "condensed") == [
        ("conv_norm", "Norm", 6),
        ("conv_act", "Activation", 6),
        ("conv", "Conv", 4),
        ("features", "Concat", 10),
    ]


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_a_layer_that_condenses_nothing_is_dense_in_both_forms(form: Form) -> None:
    stage = DenseStage(depth=1, growth_rate=4, bottleneck=2, groups_1x1=4, sfr="all", sfr_groups=4)
    assert rows(network(stage), form) == [
        ("reduce_norm", "Norm", 6),
        ("reduce_act", "Activation", 6),
        ("reduce", "Conv", 8),
        ("conv_norm", "Norm", 8),
        ("conv_act", "Activation", 8),
        ("conv", "Conv", 4),
        ("sfr_norm", "Norm", 4),
        ("sfr_act", "Activation", 4),
        ("sfr", "Conv", 6),
        ("sfr_add", "Add", 6),
        ("features", "Concat", 10),
    ]


def test_one_group_needs_no_shuffle() -> None:
    stage = DenseStage(depth=1, growth_rate=4, condense_factor=2, sfr="all", sparse_factor=2)
    names = [row[1] for row in rows(network(stage), "condensed")]
    assert "Gather" in names
    assert "IndexAdd" in names
    assert "Shuffle" not in names


def test_transitions_and_head() -> None:
    conv = TransitionSpec(kind="conv", compression=0.5)
    for transition, expected in (
        (TransitionSpec(), [("pool", "AvgPool", 10)]),
        (
            conv,
            [
                ("reduce_norm", "Norm", 10),
                ("reduce_act", "Activation", 10),
                ("reduce", "Conv", 5),
                ("pool", "AvgPool", 5),
            ],
        ),
    ):
        spec = network(V1, V1, transition=transition)
        assert rows(spec, "condensed", "transition1") == expected
        assert fragment(spec, "condensed", "transition1").outputs[0].size == 4
    assert rows(network(V1), "condensed", "head") == [
        ("final_norm", "Norm", 10),
        ("final_act", "Activation", 10),
        ("pool", "GlobalPool", 10),
        ("classifier", "Linear", 10),
    ]


def test_a_compression_keeps_whole_products_whole() -> None:
    # 100 * 0.29 is 28.999... in floating point.
    spec = NetworkSpec(
        image_size=8,
        classes=10,
        stem=StemSpec(channels=96),
        stages=(DenseStage(depth=1, growth_rate=4),) * 2,
        transition=TransitionSpec(kind="conv", compression=0.29),
    )
    assert fragment(spec, "condensed", "transition1").outputs[0].channels == 29


def reads(plan: Plan) -> dict[str, tuple[str, ...]]:
    return {step.name: step.inputs for step in plan.steps}


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_an_exponential_stage_reads_at_powers_of_two(form: Form) -> None:
    stage = DenseStage(depth=4, growth_rate=4, fetch="exponential")
    one, two, three, four = (f"stage1_layer{i}" for i in range(1, 5))
    assert reads(network(stage).plan(form)) == {
        "stem": ("image",),
        one: ("stem",),
        two: ("stem", one),
        three: (one, two),
        four: ("stem", two, three),
        # The stage's output is the same rule once more.
        "head": (one, three, four),
    }


def test_an_exponential_stage_starts_anew_behind_a_transition() -> None:
    stage = DenseStage(depth=2, growth_rate=4, fetch="exponential", fetch_base=3)
    assert reads(network(stage, stage).plan("masked")) == {
        "stem": ("image",),
        "stage1_layer1": ("stem",),
        "stage1_layer2": ("stage1_layer1",),
        "transition1": ("stem", "stage1_layer2"),
        "stage2_layer1": ("transition1",),
        "stage2_layer2": ("stage2_layer1",),
        "head": ("transition1", "stage2_layer2"),
    }


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_reactivation_updates_what_was_fetched_and_later_readers_see_it(form: Form) -> None:
    stage = DenseStage(depth=4, growth_rate=4, fetch="exponential", sfr="all", sparse_factor=2)
    plan = network(stage).plan(form)
    # A layer writes one update per output that it fetched, oldest first, and the new features.
    assert {step.name: step.outputs for step in plan.steps if step.name.startswith("stage1")} == {
        "stage1_layer1": ("stage1_layer1:0", "stage1_layer1:1"),
        "stage1_layer2": ("stage1_layer2:0", "stage1_layer2:1", "stage1_layer2:2"),
        "stage1_layer3": ("stage1_layer3:0", "stage1_layer3:1", "stage1_layer3:2"),
        "stage1_layer4": tuple(f"stage1_layer4:{i}" for i in range(4)),
    }
    assert reads(plan) == {
        "stem": ("image",),
        # Outputs 0.
        "stage1_layer1": ("stem",),
        # Outputs 0, 1: the stem's as layer 1 updated it, layer 1's as it wrote it.
        "stage1_layer2": ("stage1_layer1:0", "stage1_layer1:1"),
        # Outputs 1, 2: layer 1's as layer 2 updated it.
        "stage1_layer3": ("stage1_layer2:1", "stage1_layer2:2"),
        # Outputs 0, 2, 3: the stem's was not fetched since layer 2.
        "stage1_layer4": ("stage1_layer2:0", "stage1_layer3:1", "stage1_layer3:2"),
        # Outputs 1, 3, 4.
        "head": ("stage1_layer3:0", "stage1_layer4:2", "stage1_layer4:3"),
    }
    channels = {
        name: value.channels
        for step in plan.steps
        for name, value in zip(step.outputs, step.fragment.outputs, strict=True)
    }
    assert channels["stage1_layer2:0"] == channels["stage1_layer4:0"] == 6
    assert channels["stage1_layer2:1"] == channels["stage1_layer4:3"] == 4


def test_layers_that_do_not_reactivate_leave_outputs_as_they_are() -> None:
    stage = DenseStage(depth=2, growth_rate=4, fetch="exponential", sfr="last-1", sparse_factor=2)
    plan = network(stage).plan("masked")
    assert reads(plan)["stage1_layer2"] == ("stem", "stage1_layer1")
    # Of outputs 0, 1, 2 the head fetches 1 and 2.
    assert reads(plan)["head"] == ("stage1_layer2:1", "stage1_layer2:2")


@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_every_value_is_written_before_it_is_read(variant: NetworkSpec, form: Form) -> None:
    plan = variant.plan(form)
    written = {plan.input.name}
    for step in plan.steps:
        assert written.issuperset(step.inputs)
        assert written.isdisjoint(step.outputs)
        written.update(step.outputs)
        inside = {value.name for value in step.fragment.inputs}
        for op in step.fragment.ops:
            assert inside.issuperset(value.name for value in op.inputs)
            assert inside.isdisjoint(value.name for value in op.outputs)
            inside.update(value.name for value in op.outputs)
        assert inside.issuperset(value.name for value in step.fragment.outputs)
    assert plan.output in written


def test_the_last_reader_is_the_last() -> None:
    plan = network(DenseStage(depth=4, growth_rate=4, fetch="exponential")).plan("masked")
    last = plan.last_reader()
    assert plan.steps[last["stem"]].name == "stage1_layer4"
    assert plan.steps[last["stage1_layer2"]].name == "stage1_layer4"
    assert plan.steps[last["stage1_layer1"]].name == "head"
    assert plan.output not in last


@pytest.mark.parametrize("name", ZOO)
def test_both_forms_take_the_same_steps(name: str) -> None:
    masked, condensed = ZOO[name].plan("masked"), ZOO[name].plan("condensed")
    assert reads(masked) == reads(condensed)
    assert (masked.form, condensed.form) == ("masked", "condensed")
    learned = (ops.LearnedConv, ops.LearnedReactivation, ops.LearnedLinear)
    assert not any(isinstance(op, learned) for op in condensed.ops)


def test_equal_layers_share_a_fragment_and_a_plan_is_made_once() -> None:
    stage = DenseStage(depth=2, growth_rate=4)
    assert fragment(network(stage), "masked") is fragment(network(stage), "masked")
    spec = network(stage)
    assert spec.plan("masked") is spec.plan("masked")


def test_steps_come_in_their_order_under_their_names() -> None:
    plan = network(V1, V1).plan("masked")
    assert [step.name for step in plan.steps] == [
        "stem",
        "stage1_layer1",
        "transition1",
        "stage2_layer1",
        "head",
    ]


def test_parts_of_a_network() -> None:
    names = [step.name for step in ZOO["condensenet-86"].plan("condensed").steps]
    assert list(dict.fromkeys(map(part, names))) == [
        *("stem", "stage1", "transition1", "stage2", "transition2", "stage3", "head")
    ]


def test_stages_by_the_names_of_steps_and_parts() -> None:
    names = ("stem", "stage1_layer2", "transition1", "stage12_layer34", "stage12", "head")
    assert [stage_of(name) for name in names] == [0, 1, 0, 12, 12, 0]
