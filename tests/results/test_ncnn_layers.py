from __future__ import annotations

from results.ncnn_layers import Layer, param_text, renamed, split


def layer(name: str, *inputs: str) -> Layer:
    return Layer(kind="ReLU", name=name, inputs=inputs, outputs=(name,))


def test_a_line_is_kind_name_counts_blobs_and_parameters() -> None:
    pool = Layer(
        kind="Slice",
        name="cut",
        inputs=("x",),
        outputs=("a", "b"),
        parameters={1: 0, 2: (3, 5), 10: (0.5,), 4: 1 / 6},
    )
    assert (
        str(pool) == "Slice cut 1 2 x a b 1=0 -23302=2,3,5 -23310=1,5.0000000e-01 4=1.6666667e-01"
    )
    text = param_text([layer("x"), pool])
    assert text.splitlines()[:3] == ["7767517", "2 3", "ReLU x 0 1 x"]
    assert max(map(len, str(pool).partition("4=")[2].split())) <= 15, "what ncnn reads"


def test_a_blob_with_several_readers_is_split() -> None:
    layers = [layer("x"), layer("a", "x"), layer("b", "x", "a", "x")]
    found = split(layers)
    assert [one.name for one in found] == ["x", "x_split", "a", "b"]
    assert found[1].kind == "Split"
    assert found[1].outputs == ("x_copy0", "x_copy1", "x_copy2")
    assert found[2].inputs == ("x_copy0",)
    assert found[3].inputs == ("x_copy1", "a", "x_copy2")
    assert split(layers[:2]) == layers[:2], "one reader"


def test_blobs_get_other_names() -> None:
    (found,) = renamed([layer("a", "x")], {"x": "in0", "a": "out0"})
    assert (found.name, found.inputs, found.outputs) == ("a", ("in0",), ("out0",))
