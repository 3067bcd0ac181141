"""A network as a value: what it may be, when two are the same, and its written forms."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from search_space import (
    SPACES,
    ZOO,
    DenseStage,
    HeadSpec,
    NetworkSpec,
    SearchSpace,
    SpecError,
    StemSpec,
    TransitionSpec,
)
from search_space.dense_block import sfr_layers
from search_space.space import Choices

STAGE: dict[str, Any] = {"depth": 4, "growth_rate": 8}


def network(*stages: DenseStage, **changes: Any) -> NetworkSpec:
    fields: dict[str, Any] = {"image_size": 8, "classes": 10, "stem": StemSpec(channels=16)}
    return NetworkSpec(stages=stages or (DenseStage(**STAGE),), **{**fields, **changes})


# --- Written forms ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ZOO)
def test_json_gives_the_same_network_back(name: str) -> None:
    again = NetworkSpec.from_json(ZOO[name].to_json())
    assert again == ZOO[name]
    assert again.id == ZOO[name].id


@pytest.mark.parametrize("name", ZOO)
def test_yaml_gives_the_same_network_back(name: str) -> None:
    again = NetworkSpec.from_yaml(ZOO[name].to_yaml())
    assert again == ZOO[name]
    assert again.id == ZOO[name].id


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml"])
def test_a_file_gives_the_same_network_back(tmp_path: Path, suffix: str) -> None:
    spec = ZOO["condensenetv2-a"]
    path = tmp_path / f"net{suffix}"
    path.write_text(spec.to_json() if suffix == ".json" else spec.to_yaml(), encoding="utf-8")
    assert NetworkSpec.load(path) == spec


def test_the_written_form_is_plain_and_carries_its_version() -> None:
    data = network().to_dict()
    assert data["format"] == 1
    assert data["stem"] == {
        **{"channels": 16, "kernel": 3, "stride": 1},
        **{"normed": False, "activation": "relu", "pooled": False},
    }
    assert data["stages"][0]["block"] == "dense"
    assert data["stages"][0]["growth_rate"] == 8
    assert json.loads(json.dumps(data)) == data == yaml.safe_load(yaml.safe_dump(data))


def test_what_is_left_out_has_its_default() -> None:
    text = """
        image_size: 8
        classes: 10
        stem: {channels: 16}
        stages:
        - {depth: 4, growth_rate: 8}
    """
    assert NetworkSpec.from_yaml(text) == network()


def any_choices_of(space: SearchSpace) -> st.SearchStrategy[Choices]:
    return st.fixed_dictionaries({d.name: st.sampled_from(d.choices) for d in space.dimensions})


@pytest.mark.parametrize("name", SPACES)
@given(data=st.data())
@settings(deadline=None, derandomize=True, max_examples=40)
def test_any_network_of_a_space_survives_writing(name: str, data: st.DataObject) -> None:
    choices = data.draw(any_choices_of(SPACES[name]))
    try:
        spec = SPACES[name].decode(choices)
    except SpecError:
        reject()
    assert NetworkSpec.from_json(spec.to_json()) == spec
    assert NetworkSpec.from_yaml(spec.to_yaml()) == spec
    canonical = spec.canonical()
    assert canonical.canonical() == canonical
    assert canonical.id == spec.id


# --- Identity ---------------------------------------------------------------------------------


def stage(**changes: Any) -> NetworkSpec:
    return network(DenseStage(**{**STAGE, **changes}))


SFR: dict[str, Any] = {"sfr": "all", "sparse_factor": 2, "sfr_groups": 2}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (stage(**SFR), stage(**SFR | {"sfr": "every-1"})),
        (stage(**SFR), stage(**SFR | {"sfr": "last-4"})),
        (stage(**SFR), stage(**SFR | {"sfr": "last-9"})),
        (stage(**SFR | {"sfr": "last-1"}), stage(**SFR | {"sfr": "every-4"})),
        (stage(**SFR | {"depth": 1}), stage(**SFR | {"depth": 1, "sfr": "last-1"})),
        (stage(), stage(**SFR | {"sfr": "none"})),
        (stage(), stage(**SFR | {"sfr": "every-9"})),
        (stage(), stage(sparse_factor=8)),
        (stage(), stage(sfr_groups=3)),
        (stage(sfr="all", sfr_groups=4), stage(sfr="all")),
        (stage(), stage(groups_1x1=4)),
        (stage(), stage(fetch_base=3)),
        (stage(depth=1), stage(depth=1, fetch="exponential")),
        (
            stage(depth=1, fetch="exponential", fetch_base=3),
            stage(depth=1, fetch="exponential", fetch_base=7),
        ),
        (
            stage(depth=4, fetch="exponential", fetch_base=6),
            stage(depth=4, fetch="exponential", fetch_base=7),
        ),
        (network(), network(transition=TransitionSpec(kind="conv", compression=0.5))),
        (network(), network(head=HeadSpec(activation="relu"))),
    ],
)
def test_equal_networks_share_an_id_however_written(one: NetworkSpec, other: NetworkSpec) -> None:
    assert one.id == other.id
    assert one.canonical() == other.canonical()


DIFFERENT: dict[str, NetworkSpec] = {
    "plain": stage(),
    "depth": stage(depth=3),
    "growth_rate": stage(growth_rate=12),
    "bottleneck": stage(bottleneck=2),
    "no bottleneck": stage(bottleneck=0),
    "condense_factor": stage(condense_factor=2),
    "groups_1x1": stage(condense_factor=2, groups_1x1=2),
    "groups_3x3": stage(groups_3x3=2),
    "sfr": stage(sfr="all"),
    "last-1": stage(sfr="last-1"),
    "last-2": stage(sfr="last-2"),
    "every-2": stage(sfr="every-2"),
    "every-3": stage(sfr="every-3"),
    "sparse_factor": stage(sfr="all", sparse_factor=2),
    "sfr_groups": stage(sfr="all", sparse_factor=2, sfr_groups=2),
    "fetch": stage(fetch="exponential"),
    "fetch_base": stage(fetch="exponential", fetch_base=3),
    "se_reduction": stage(se_reduction=2),
    "activation": stage(activation="hard_swish"),
    "exponential at depth 2": stage(depth=2, fetch="exponential"),
    "depth 2": stage(depth=2),
    "classes": network(classes=11),
    "image_size": network(image_size=9),
    "image_channels": network(image_channels=1),
    "stem channels": network(stem=StemSpec(channels=8)),
    "stem kernel": network(stem=StemSpec(channels=16, kernel=5)),
    "stem stride": network(stem=StemSpec(channels=16, stride=2)),
    "two stages": network(DenseStage(**STAGE), DenseStage(**STAGE)),
    "conv": network(
        DenseStage(**STAGE), DenseStage(**STAGE), transition=TransitionSpec(kind="conv")
    ),
    "head se": network(head=HeadSpec(se_reduction=4)),
    "head features": network(head=HeadSpec(features=20)),
    "head activation": network(head=HeadSpec(features=20, activation="relu")),
    "head condense_factor": network(head=HeadSpec(condense_factor=2)),
}


def test_different_networks_have_different_ids() -> None:
    assert len({spec.id for spec in DIFFERENT.values()}) == len(DIFFERENT)


def test_an_id_is_twelve_hex_digits_that_last() -> None:
    assert set(network().id) <= set("0123456789abcdef")
    assert len(network().id) == 12
    assert network().id == network().id


@pytest.mark.parametrize(
    ("placement", "depth", "layers"),
    [
        ("none", 3, set()),
        ("all", 3, {0, 1, 2}),
        ("last-1", 3, {2}),
        ("last-2", 3, {1, 2}),
        ("last-9", 3, {0, 1, 2}),
        ("every-1", 3, {0, 1, 2}),
        ("every-2", 5, {1, 3}),
        ("every-3", 3, {2}),
        ("every-9", 3, set()),
    ],
)
def test_placements_name_layers(placement: str, depth: int, layers: set[int]) -> None:
    assert sfr_layers(placement, depth) == layers


@pytest.mark.parametrize(
    "placement", ["some", "", "last", "last-", "last-0", "last--1", "every-x", "all-2", 3, None]
)
def test_other_placements_are_refused(placement: str) -> None:
    with pytest.raises(SpecError, match=r"`sfr` \(=.*\) must be none, all, last-N"):
        sfr_layers(placement, 4)


def test_a_network_shows_itself_in_one_line() -> None:
    text = str(ZOO["condensenetv2-a"])
    assert text.startswith(ZOO["condensenetv2-a"].id)
    assert "d 1/1/4/6/8" in text
    assert "k 8/8/16/32/64" in text
    assert "C 8," in text
    assert "\n" not in text


def test_a_changed_copy_is_validated_anew() -> None:
    assert network().replace(classes=100).classes == 100
    with pytest.raises(SpecError, match="classes"):
        network().replace(classes=0)


def test_a_value_can_be_a_key() -> None:
    assert {network(): 1}[network()] == 1


# --- Rules ------------------------------------------------------------------------------------

WHOLE = "must be a whole number of at least "
STAGE_RULES: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"`{name}` (={value!r}) {WHOLE}1")
        for name in (
            *("depth", "growth_rate", "groups_1x1", "condense_factor", "groups_3x3"),
            *("sparse_factor", "sfr_groups"),
        )
        for value in (0, -1, True, 2.0, "4", None)
    ),
    *(
        ({name: value}, f"`{name}` (={value!r}) {WHOLE}0")
        for name in ("bottleneck", "se_reduction")
        for value in (-1, False, 1.5, "1", [])
    ),
    *(({"fetch_base": v}, f"`fetch_base` (={v!r}) {WHOLE}2") for v in (1, 0, True, "2")),
    ({"fetch": "sparse"}, "`fetch` (='sparse') must be one of dense, exponential"),
    ({"fetch": ["dense"]}, "`fetch` (=['dense']) must be one of dense, exponential"),
    ({"activation": "gelu"}, "`activation` (='gelu') must be one of relu, hard_swish"),
    ({"activation": None}, "`activation` (=None) must be one of relu, hard_swish"),
    ({"sfr": "first-2"}, "`sfr` (='first-2') must be none, all, last-N"),
    ({"sfr": True}, "`sfr` (=True) must be none, all, last-N"),
    (
        {"growth_rate": 6, "groups_3x3": 4},
        "`growth_rate` (=6) must be divisible by `groups_3x3` (=4)",
    ),
    (
        {"growth_rate": 6, "bottleneck": 2, "groups_1x1": 8},
        "`bottleneck` x `growth_rate` (=12) must be divisible by `groups_1x1` (=8)",
    ),
    (
        {"growth_rate": 6, "sfr": "all", "sfr_groups": 4},
        "`growth_rate` (=6) must be divisible by `sfr_groups` (=4)",
    ),
    (
        {"bottleneck": 0, "condense_factor": 2},
        "`condense_factor` (=2) must be 1 where `bottleneck` is 0",
    ),
    ({"bottleneck": 0, "groups_3x3": 2}, "`groups_3x3` (=2) must be 1 where `bottleneck` is 0"),
    ({"se_reduction": 9}, "`se_reduction` (=9) must be at most `growth_rate` (=8)"),
]


@pytest.mark.parametrize(("changes", "message"), STAGE_RULES, ids=lambda v: str(v)[:50])
def test_a_bad_stage_is_named_by_field_value_and_rule(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as error:
        DenseStage(**{**STAGE, **changes})
    assert str(error.value).startswith(message)


DATA: dict[str, Any] = {
    "format": 1,
    "image_size": 8,
    "classes": 10,
    "stem": {"channels": 16},
    "stages": [STAGE, STAGE],
}
THREE = [STAGE] * 3

NETWORK_RULES: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"`{name}` (={value!r}) {WHOLE}1")
        for name in ("image_size", "classes", "image_channels")
        for value in (0, True, 3.0, "3", None)
    ),
    ({"stages": []}, "`stages` must hold at least one stage"),
    ({"stages": None}, "`stages` (=None) must be a list of stages"),
    ({"stages": "abc"}, "`stages` (='abc') must be a list of stages"),
    ({"stages": {"depth": 1}}, "`stages` (={'depth': 1}) must be a list of stages"),
    ({"stages": [STAGE, 3]}, "stage 2 must be a mapping of field names to values, not 3"),
    ({"stages": [{"depth": 1}]}, "stage 1 lacks the field `growth_rate`"),
    ({"stages": [STAGE, STAGE | {"groups": 2}]}, "stage 2 has no field `groups`; its fields: "),
    ({"stages": [STAGE, STAGE | {"depth": 0}]}, f"stage 2: `depth` (=0) {WHOLE}1"),
    ({"format": 2}, "`format` (=2) must be 1"),
    ({"format": "1"}, "`format` (='1') must be 1"),
    ({"format": None}, "`format` (=None) must be 1"),
    ({"layers": 3}, "the network has no field `layers`; its fields: image_size, classes"),
    ({"stem": None}, "`stem` must be a mapping of field names to values, not None"),
    ({"stem": {}}, "`stem` lacks the field `channels`"),
    ({"stem": {"channels": 16, "norm": 1}}, "`stem` has no field `norm`; its fields: channels"),
    ({"stem": {"channels": 0}}, f"`stem`: `channels` (=0) {WHOLE}1"),
    ({"stem": {"channels": 16, "stride": 0}}, f"`stem`: `stride` (=0) {WHOLE}1"),
    ({"stem": {"channels": 16, "kernel": True}}, f"`stem`: `kernel` (=True) {WHOLE}1"),
    ({"stem": {"channels": 16, "kernel": 4}}, "`stem`: `kernel` (=4) must be odd"),
    (
        {"transition": {"kind": "stride"}},
        "`transition`: `kind` (='stride') must be one of pool, conv",
    ),
    *(
        (
            {"transition": {"kind": "conv", "compression": value}},
            f"`transition`: `compression` (={value!r}) must be in (0, 1]",
        )
        for value in (0, -0.5, 1.5, True, "0.5", None, float("nan"))
    ),
    (
        {"transition": {"kind": "pool", "compression": 0.5}},
        "`transition`: `compression` (=0.5) must be 1 where `kind` is pool",
    ),
    ({"head": []}, "`head` must be a mapping of field names to values, not []"),
    ({"head": {"dropout": 0.1}}, "`head` has no field `dropout`; its fields: normed"),
    ({"head": {"features": -1}}, f"`head`: `features` (=-1) {WHOLE}0"),
    ({"head": {"se_reduction": True}}, f"`head`: `se_reduction` (=True) {WHOLE}0"),
    ({"head": {"condense_factor": 0}}, f"`head`: `condense_factor` (=0) {WHOLE}1"),
    ({"head": {"activation": "tanh"}}, "`head`: `activation` (='tanh') must be one of relu"),
    # Layers that cannot exist.
    ({"image_size": 1}, "`image_size` (=1) leaves 1x1 pixels before stage 2, too few to halve"),
    (
        {"image_size": 3, "stages": THREE},
        "`image_size` (=3) leaves 1x1 pixels before stage 3, too few to halve",
    ),
    (
        {"stages": [STAGE | {"condense_factor": 17}]},
        "stage 1, layer 1: `condense_factor` (=17) must be at most the inputs of the layer (=16)",
    ),
    (
        {"stages": [STAGE | {"sfr": "all", "sparse_factor": 17}]},
        "stage 1, layer 1: `sparse_factor` (=17) must be at most the features that it updates"
        " (=16)",
    ),
    (
        # Base 3: the second layer reads the 8 channels of the first alone.
        {"stages": [STAGE | {"condense_factor": 9, "fetch": "exponential", "fetch_base": 3}]},
        "stage 1, layer 2: `condense_factor` (=9) must be at most the inputs of the layer (=8)",
    ),
]


@pytest.mark.parametrize(("changes", "message"), NETWORK_RULES, ids=lambda v: str(v)[:60])
def test_a_bad_network_is_named_by_field_value_and_rule(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError) as error:
        NetworkSpec.from_dict({**DATA, **changes})
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("name", ["image_size", "classes", "stem"])
def test_a_missing_field_is_named(name: str) -> None:
    data = {key: value for key, value in DATA.items() if key != name}
    with pytest.raises(SpecError, match=f"the network lacks the field `{name}`"):
        NetworkSpec.from_dict(data)


def test_the_rules_let_the_limits_pass() -> None:
    last = STAGE | {"condense_factor": 16, "sfr": "all", "sparse_factor": 16}
    assert NetworkSpec.from_dict({**DATA, "stages": [last]}).stages[0].condense_factor == 16
    assert NetworkSpec.from_dict({**DATA, "image_size": 4, "stages": THREE}).image_size == 4
    assert DenseStage(**STAGE, se_reduction=8).se_reduction == 8


@pytest.mark.parametrize("data", [None, 3, "text", [], [1], {1: 2}])
def test_what_is_no_mapping_is_no_network(data: object) -> None:
    with pytest.raises(SpecError, match="a network must be a mapping of field names to values"):
        NetworkSpec.from_dict(data)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(SpecError) as error:
        NetworkSpec.from_dict(list(range(10_000)))
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", '{"a": }', "\ufeff{}"])
def test_text_that_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not JSON: "):
        NetworkSpec.from_json(text)


@pytest.mark.parametrize(
    "text",
    [
        *("a: [1", "a: b: c", "\tx: 1", "x: \x00", "{[a]: 1}", "2020-13-45"),
        "!!python/object/apply:os.getcwd []",
    ],
)
def test_text_that_is_not_yaml_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SpecError, match="not YAML: ") as error:
        NetworkSpec.from_yaml(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("net.json", b"{", "not JSON"),
        ("net.yaml", b"a: [1", "not YAML"),
        ("net.yaml", b"\xff\xfe\x00", "cannot be read"),
        ("net.json", b"[]", "a network must be a mapping"),
        ("net.yml", b"stages: [{depth: 1}]", "stage 1 lacks the field `growth_rate`"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SpecError) as error:
        NetworkSpec.load(path)
    assert str(error.value).startswith(f"{path}: ")
    assert reason in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(SpecError, match="cannot be read") as error:
            NetworkSpec.load(path)
        assert str(error.value).startswith(f"{path}: ")


def test_updates_that_nobody_reads_are_not_made() -> None:
    """Under base 3 the stage's output reads positions 1 and 3 of four, the last layer 0 and 2."""
    stage = DenseStage(
        depth=3, growth_rate=4, sfr="all", sparse_factor=2, fetch="exponential", fetch_base=3
    )
    assert stage.reactivating_layers == frozenset({0, 1})
    assert [layer.sfr is not None for layer in stage.layer_settings] == [True, True, False]
    assert replace(stage, sfr="last-1").canonical().sfr == "none"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"sfr": "last-03"}, {"sfr": "last-3"}),
        ({"se_reduction": 5}, {"se_reduction": 8}),
    ],
)
def test_writings_that_change_nothing_share_an_id(one: dict, other: dict) -> None:
    def net(changes: dict) -> NetworkSpec:
        stage = DenseStage(depth=5, growth_rate=8, sparse_factor=2, **changes)
        return NetworkSpec(image_size=8, classes=4, stem=StemSpec(channels=8), stages=(stage,))

    assert net(one).id == net(other).id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": HeadSpec(se_reduction=50)}, "`se_reduction` (=50) of the head"),
        ({"head": HeadSpec(condense_factor=50)}, "`condense_factor` (=50) of the head"),
        ({"stages": 3}, "`stages` must hold at least one stage"),
        ({"stages": (3,)}, "stage 1 (=3) must be one of DenseStage, ResidualStage, ShuffleStage"),
        ({"stem": {"channels": 8}}, "`stem` (={'channels': 8}) must be a StemSpec"),
        (
            {"transition": TransitionSpec(kind="conv", compression=0.01)},
            "`compression` (=0.01) leaves none of 12 channels",
        ),
    ],
)
def test_parts_that_leave_nothing_are_refused(changes: dict, message: str) -> None:
    stage = DenseStage(depth=1, growth_rate=4)
    fields = {
        "image_size": 8,
        "classes": 4,
        "stem": StemSpec(channels=8),
        "stages": (stage, stage),
    }
    with pytest.raises(SpecError) as error:
        NetworkSpec(**(fields | changes))
    assert message in str(error.value)


@pytest.mark.parametrize("placement", ["last-" + "9" * 5000, "last-\u0663", "every-", "last-0"])
def test_odd_placements_are_refused(placement: str) -> None:
    with pytest.raises(SpecError, match="must be none, all, last-N"):
        DenseStage(depth=1, growth_rate=4, sfr=placement)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(SpecError, match="not JSON"):
        NetworkSpec.from_json("[" * 100_000)
