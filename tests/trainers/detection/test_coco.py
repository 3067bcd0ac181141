"""COCO's layout: what is read, what is left out, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search_space.errors import UserError
from trainers.detection.coco import PARTS, CocoPart, check_same_categories, coco_path, load_coco

WriteCoco = Callable[..., Path]


def box(bbox: list[float], **changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 7, "category_id": 1, "bbox": bbox, **changes}


def read(write: WriteCoco, **changes: Any) -> CocoPart:
    return load_coco(write(**changes), "val2017")


def test_boxes_become_corners_and_ids_with_gaps_become_labels(write_coco: WriteCoco) -> None:
    part = read(write_coco)
    assert list(part.files.items()) == [(3, "b.png"), (7, "a.png")]
    assert dict(part.categories) == {1: "person", 90: "toothbrush"}
    assert list(part.targets) == [7]
    np.testing.assert_array_equal(part.targets[7].boxes, [[4, 2, 14, 7]])
    assert part.targets[7].labels.tolist() == [2]


def test_the_papers_eighty_of_ninety_ids_are_labels_without_gaps(write_coco: WriteCoco) -> None:
    missing = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    ids = [i for i in range(1, 91) if i not in missing]
    part = read(
        write_coco,
        categories=[{"id": i, "name": f"thing {i}"} for i in ids],
        annotations=[box([0, 0, 5, 5], id=i, category_id=i) for i in ids],
    )
    assert len(ids) == 80
    assert part.targets[7].labels.tolist() == list(range(1, 81))


def test_crowds_and_boxes_without_an_inside_are_not_trained_on(write_coco: WriteCoco) -> None:
    part = read(
        write_coco,
        annotations=[
            box([1, 1, 5, 5], id=1),
            box([0, 0, 40, 20], id=2, iscrowd=1),
            box([1, 1, 0, 5], id=3),
            box([1, 1, 5, -2], id=4),
            box([50, 1, 5, 5], id=5),
            box([1, 1, 5, 5], id=6, image_id=3, iscrowd=1),
        ],
    )
    np.testing.assert_array_equal(part.targets[7].boxes, [[1, 1, 6, 6]])
    assert list(part.targets) == [7]
    assert len(part.annotations) == 6, "they are judged by as COCO's code sees fit"
    assert part.note == (
        f"2 images of {part.folder}, 1 boxes, 2 categories; not trained on: 1 images without a"
        " box, 2 crowds, 3 boxes without an inside"
    )


def test_what_lies_outside_of_the_image_is_cut_off(write_coco: WriteCoco) -> None:
    part = read(write_coco, annotations=[box([-5, 10, 20, 30])])
    np.testing.assert_array_equal(part.targets[7].boxes, [[0, 10, 15, 20]])


def test_a_missing_area_is_that_of_the_box(write_coco: WriteCoco) -> None:
    part = read(write_coco, annotations=[box([0, 0, 4, 5]), box([0, 0, 4, 5], id=2, area=7.5)])
    assert [a["area"] for a in part.annotations] == [20, 7.5]


def test_no_annotations_at_all_can_be_judged_by(write_coco: WriteCoco) -> None:
    assert dict(read(write_coco, annotations=[]).targets) == {}


WRONG = {
    "no list": ({"images": {}}, "must hold a list `images`"),
    "no image": ({"images": []}, "`images` must hold at least one entry"),
    "no id": ({"categories": [{"name": "x"}]}, "must have a whole number as `id`"),
    "twice": ({"annotations": [box([0, 0, 1, 1])] * 2}, "has the `id` (=1) of another entry"),
    "no name": ({"categories": [{"id": 1}]}, "must have a word as `name`"),
    "no size": (
        {"images": [{"id": 7, "file_name": "a.png", "width": 0, "height": 1}]},
        "must have a number above 0 as `width`",
    ),
    "no such image": ({"annotations": [box([0, 0, 1, 1], image_id=8)]}, "has a `image_id` that no"),
    "no such category": (
        {"annotations": [box([0, 0, 1, 1], category_id=2)]},
        "has a `category_id` that no",
    ),
    "no box": ({"annotations": [box([0, 0, 1])]}, "must have left, top, width and height"),
    "no number": (
        {"annotations": [box([0, 0, 1, float("nan")])]},
        "must have left, top, width and height",
    ),
    "no file": (
        {"images": [{"id": 7, "file_name": "c.png", "width": 1, "height": 1}], "annotations": []},
        "1 image that",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, write_coco: WriteCoco) -> None:
    changes, words = WRONG[case]
    with pytest.raises(UserError) as error:
        read(write_coco, **changes)
    assert words in str(error.value)
    assert "instances_val2017.json" in str(error.value)


def test_a_missing_file_of_annotations_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"instances_train2017\.json was looked for"):
        load_coco(tmp_path, PARTS[0])


def test_junk_is_no_annotation(write_coco: WriteCoco) -> None:
    root = write_coco()
    (root / "annotations" / "instances_val2017.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read: not JSON"):
        load_coco(root, "val2017")


@pytest.mark.parametrize("data", ["coco", "coco:", "folder:/tmp", ""])
def test_data_must_be_in_cocos_layout(data: str) -> None:
    with pytest.raises(UserError, match="must be coco:PATH"):
        coco_path(data)


def test_parts_must_have_the_same_categories(write_coco: WriteCoco) -> None:
    one = read(write_coco)
    check_same_categories(one, one)
    other = read(write_coco, categories=[{"id": 90, "name": "toothbrush"}, {"id": 2, "name": "b"}],
                 annotations=[])  # fmt: skip
    with pytest.raises(UserError, match=r"only in one of them: person \(1\), b \(2\)"):
        check_same_categories(one, other)


def test_a_fingerprint_changes_with_boxes(write_coco: WriteCoco) -> None:
    one, again = read(write_coco).fingerprint(), read(write_coco).fingerprint()
    other = read(write_coco, annotations=[box([0, 0, 4, 5])]).fingerprint()
    assert one == again != other
