"""Models as users of timm know them: arguments, feature maps, classifiers that come off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from search_space import ZOO, NetworkSpec, UserError, build, create_model, list_models, pretrained
from search_space.backbones import FeatureMaps, ImageModel, feature_maps
from search_space.network import check_conversion

FAMILIES = ("condensenet-86", "condensenetv2-a", "sparsenet-bc-100-k12")


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def model(name: str = "condensenet-86", **settings: Any) -> ImageModel:
    made = create_model(name, generator=seeded(), **settings)
    assert isinstance(made, ImageModel)
    return made.eval()


def backbone(name: str = "condensenet-86", **settings: Any) -> FeatureMaps:
    made = create_model(name, features_only=True, generator=seeded(), **settings)
    assert isinstance(made, FeatureMaps)
    return made.eval()


# --- Names and arguments ----------------------------------------------------------------------


def test_names_are_listed_by_wildcard() -> None:
    assert list_models() == sorted(ZOO)
    assert list_models("condensenetv2-?") == [
        "condensenetv2-a",
        "condensenetv2-b",
        "condensenetv2-c",
    ]
    assert list_models("vgg*") == []


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("form", ["masked", "condensed"])
def test_weights_are_those_of_build(name: str, form: Any) -> None:
    with torch.device("meta"):
        made, built = (
            create_model(name, form=form).state_dict(),
            build(ZOO[name], form).state_dict(),
        )
        maps = create_model(name, form=form, features_only=True).state_dict()
    assert {k: v.shape for k, v in made.items()} == {k: v.shape for k, v in built.items()}
    assert list(maps) == [name for name in built if not name.startswith("steps.head.")]


def test_the_arguments_change_the_network() -> None:
    made = model(num_classes=7, in_chans=1, image_size=16)
    assert made.spec == ZOO["condensenet-86"].replace(classes=7, image_channels=1, image_size=16)
    assert made(images(2, 1, 16, 16)).shape == (2, 7)
    assert made.default_cfg["input_size"] == (1, 16, 16)
    assert len(made.default_cfg["mean"]) == len(made.default_cfg["std"]) == 1


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageModel:
    """A network whose weights come with the zoo; these are random ones, condensed."""
    made = model()
    made.condense(1.0)
    folder = tmp_path / "condensenet-86"
    folder.mkdir()
    metadata = {"form": "masked", "spec": made.spec.id, "mean": "0.1 0.2 0.3", "std": "0.4 0.5 0.6"}
    save_file(made.state_dict(), folder / "weights.safetensors", metadata)
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
    return made


def test_published_weights_are_taken(published: ImageModel) -> None:
    x = images(2, 3, 32, 32)
    expected = published(x)
    assert create_model("condensenet-86", pretrained=True).eval()(x).equal(expected)
    deployed = create_model("condensenet-86", pretrained=True, form="condensed").eval()
    assert torch.allclose(deployed(x), expected, atol=1e-4)
    for taken in (model(pretrained=True), model(pretrained=True, form="condensed")):
        assert taken.default_cfg["mean"] == (0.1, 0.2, 0.3)
        assert taken.default_cfg["std"] == (0.4, 0.5, 0.6)


@pytest.mark.parametrize("file", sorted(pretrained.FOLDER.glob("*/*.safetensors")))
def test_what_is_published_fits_its_network(file: Path) -> None:
    made, deployed = (
        create_model(file.parent.name, pretrained=True, form=form).eval()
        for form in ("masked", "condensed")
    )
    check_conversion(made, deployed, images(2, 3, 32, 32))
    assert all(bool(tensor.isfinite().all()) for tensor in made.state_dict().values())
    assert file.stat().st_size < 5_000_000


def test_published_weights_serve_other_classes_and_feature_maps(published: ImageModel) -> None:
    x = images(2, 3, 32, 32)
    other = model(pretrained=True, num_classes=7)
    assert other.forward_features(x).equal(published.forward_features(x))
    assert other(x).shape == (2, 7)
    assert model(pretrained=True, num_classes=7)(x).equal(other(x)), "the generator's classifier"
    assert model(pretrained=True, num_classes=0)(x).shape == (2, other.head_hidden_size)
    maps = backbone(pretrained=True)
    own = published.state_dict()
    assert all(tensor.equal(own[name]) for name, tensor in maps.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (
            {"name": "resnet50"},
            "unknown network 'resnet50'; did you mean resnet-50",
        ),
        ({"pretrained": True}, "no weights of .* are published .*search import.*--weights"),
        ({"pretrained": True, "in_chans": 1}, r"`in_chans` \(=1\) must be 3 with `pretrained`"),
        ({"num_classes": -1}, r"`classes` \(=-1\) must be"),
        ({"in_chans": 0}, r"`image_channels` \(=0\) must be"),
        ({"form": "dense"}, "unknown form 'dense'; known: condensed, masked"),
        ({"out_indices": (1,)}, "set `features_only`"),
        ({"features_only": True, "out_indices": (3,)}, r"must lie in 0 ... 2"),
        ({"features_only": True, "out_indices": ()}, "at least one"),
    ],
)
def test_wrong_arguments_say_what_to_do(settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        create_model(**{"name": "condensenet-86", **settings})


# --- Classification ---------------------------------------------------------------------------


def test_the_head_follows_the_features(variant: NetworkSpec) -> None:
    made = ImageModel(variant, generator=seeded()).eval()
    x = images(2, 3, 8, 8)
    features = made.forward_features(x)
    assert features.shape[1] == made.num_features
    assert made.forward_head(features).equal(made(x))
    hidden = made.forward_head(features, pre_logits=True)
    assert hidden.shape == (2, made.head_hidden_size)
    assert made.get_classifier()(hidden).equal(made(x))


def test_without_a_classifier_features_come_out(variant: NetworkSpec) -> None:
    made = ImageModel(variant, generator=seeded()).eval()
    x = images(2, 3, 8, 8)
    expected = made.forward_head(made.forward_features(x), pre_logits=True)
    made.reset_classifier(0)
    assert made.num_classes == 0
    assert made(x).equal(expected)
    assert not any("classifier" in name for name in made.state_dict())
    made.condense(1.0)
    condensed = made.to_inference()
    check_conversion(made, condensed, x)
    assert isinstance(condensed, ImageModel)
    assert condensed.num_classes == 0


def test_zero_classes_are_no_classifier() -> None:
    made = model("condensenetv2-a", num_classes=0, image_size=32)
    assert made.num_classes == 0
    assert made(images(1, 3, 32, 32)).shape == (1, 828)
    assert made.head_hidden_size == 828


@pytest.mark.parametrize("name", ["classifier C=2", "wide head"])
@pytest.mark.parametrize("off", [False, True])
def test_a_new_classifier_leaves_the_rest(
    name: str, off: bool, variant_named: Callable[[str], NetworkSpec]
) -> None:
    made = ImageModel(variant_named(name), generator=seeded()).eval()
    x = images(2, 3, 8, 8)
    before = made.forward_features(x)
    if off:
        made.reset_classifier(0)
    made.reset_classifier(9)
    assert made.num_classes == 9
    assert made(x).shape == (2, 9)
    assert made.forward_features(x).equal(before)
    assert made.state_dict().keys() == build(made.spec).state_dict().keys()
    made.condense(1.0)
    condensed = made.to_inference()
    check_conversion(made, condensed, x)
    assert isinstance(condensed, ImageModel)
    condensed.reset_classifier(4)
    assert condensed(x).shape == (2, 4)
    assert condensed.spec.head.condense_factor == 1
    assert condensed.state_dict().keys() == build(condensed.spec, "condensed").state_dict().keys()


def test_the_configuration_names_modules() -> None:
    made = model("sparsenet-bc-100-k12")
    config = made.pretrained_cfg
    assert config["input_size"] == (3, 32, 32)
    assert config["num_classes"] == 100
    assert isinstance(made.get_submodule(config["first_conv"]), nn.Conv2d)
    assert made.get_submodule(config["classifier"]) is made.get_classifier()


def test_gradient_checkpointing_is_recomputation() -> None:
    for made in (model(), backbone()):
        made.set_grad_checkpointing()
        assert made.recompute
        made.set_grad_checkpointing(False)
        assert not made.recompute


# --- Feature maps -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ZOO)
def test_the_information_is_that_of_the_maps(name: str) -> None:
    maps = backbone(name)
    height, width = (128, 96) if ZOO[name].image_size == 224 else (20, 12)
    with torch.no_grad():
        found = maps(images(1, 3, height, width))
    info = maps.feature_info
    # Where the first stage strides, the stem's maps have a resolution of their own.
    stages = ZOO[name].stages
    assert len(found) == len(info) == len(stages) + (getattr(stages[0], "stride", 1) > 1)
    assert [f.shape[1] for f in found] == info.channels()
    assert [(f.shape[2], f.shape[3]) for f in found] == [
        (height // r, width // r) for r in info.reduction()
    ]
    assert [maps.get_submodule(m) for m in info.module_name()]


def test_the_papers_feature_maps() -> None:
    info = backbone("condensenet-c").feature_info
    assert info.reduction() == [2, 4, 8, 16, 32]
    # Stem and stages: 16 + 4*8, + 6*16, + 8*32, + 10*64, + 8*128.
    assert info.channels() == [48, 144, 400, 1040, 2064]
    assert info.module_name()[0] == "steps.stage1_layer4"
    assert info[4] == {
        "num_chs": 2064,
        "reduction": 32,
        "module": "steps.stage5_layer8",
        "index": 4,
    }
    assert info.get_dicts(["index"], [0, 2]) == [{"index": 0}, {"index": 2}]
    assert info.get_dicts(["reduction"], 1) == {"reduction": 4}
    assert info.channels(0) == 48


def test_maps_are_what_transitions_and_head_read(variant: NetworkSpec) -> None:
    network = build(variant, generator=seeded()).eval()
    maps = FeatureMaps(variant, generator=seeded()).eval()
    read: list[Tensor] = []
    for step in network.plan.steps:
        if step.name.startswith(("transition", "head")):
            network.steps[step.name].register_forward_pre_hook(
                lambda _, inputs: read.append(torch.cat(inputs, 1))
            )
    x = images(2, 3, 8, 8)
    network(x)
    found = maps(x)
    assert len(found) == len(read) == len(feature_maps(network.plan)) == len(variant.stages)
    assert all(a.equal(b) for a, b in zip(found, read, strict=True))


def test_condensing_changes_no_map(variant: NetworkSpec) -> None:
    maps = FeatureMaps(variant, generator=seeded()).eval()
    maps.condense(1.0)
    condensed = maps.to_inference()
    x = images(2, 3, 8, 8)
    for one, other in zip(maps(x), condensed(x), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_chosen_maps_come_in_the_order_asked_for_and_nothing_behind_them_exists() -> None:
    maps, everything = backbone(out_indices=(1, -3)), backbone()
    x = images(1, 3, 16, 16)
    found, all_found = maps(x), everything(x)
    assert [f.equal(a) for f, a in zip(found, (all_found[1], all_found[0]), strict=True)] == [
        True
    ] * 2
    assert maps.feature_info.out_indices == (1, 0)
    assert maps.feature_info.channels() == [f.shape[1] for f in found]
    assert [name for name in maps.steps if name.startswith(("stage3", "transition2", "head"))] == []


def test_all_weights_of_a_backbone_are_trained_with_recomputation_too() -> None:
    maps = backbone().train()
    pyramid = FeaturePyramidNetwork(maps.feature_info.channels(), out_channels=4)
    gradients = []
    for recompute in (False, True):
        maps.recompute = recompute
        maps.zero_grad()
        found = maps(images(2, 3, 20, 16))
        levels = pyramid(dict(zip("abc", found, strict=True)))
        torch.stack([level.square().mean() for level in levels.values()]).sum().backward()
        gradients.append([p.grad for p in maps.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        assert one.equal(other)
