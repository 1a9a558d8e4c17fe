"""Detection end to end against the oracles, by torch and by ONNX."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch

from rayox_model.checkpoint.weights import read_pth, transfer
from rayox_model.core.errors import ConfigError, ExportError, ModelError
from rayox_model.core.samples import Detections
from rayox_model.detect.detector import TorchDetector, load_pth_detector
from rayox_model.detect.nms import ScoredBoxes, non_max_suppression, score_boxes
from rayox_model.detect.onnx_boxes import keep_best
from rayox_model.detect.onnx_detector import load_onnx_detector
from rayox_model.detect.onnx_export import export_onnx
from rayox_model.nets.yolox import YOLOX

pytestmark = pytest.mark.slow

SIZE = (416, 416)
ORACLE_IMAGES = (5001, 6818, 30213)


def letterboxed(path: Path) -> tuple[np.ndarray, float]:
    image = cv2.imread(str(path))
    ratio = min(SIZE[0] / image.shape[0], SIZE[1] / image.shape[1])
    height, width = int(image.shape[0] * ratio), int(image.shape[1] * ratio)
    padded = np.full((*SIZE, 3), 114, np.uint8)
    padded[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return padded, ratio


@pytest.fixture(scope="module")
def val(shared_data: Path) -> dict[int, Path]:
    folder = shared_data / "coco_dev"
    file = json.loads((folder / "annotations/instances_val2017.json").read_text())
    return {image["id"]: folder / "val2017" / image["file_name"] for image in file["images"]}


@pytest.fixture(scope="module")
def images(val: dict[int, Path]) -> np.ndarray:
    return np.stack([letterboxed(val[image_id])[0] for image_id in ORACLE_IMAGES])


@pytest.fixture(scope="module")
def official(shared_data: Path) -> YOLOX:
    weights = read_pth(shared_data / "weights" / "yolox_nano_bncal.pth")
    model = YOLOX(weights.size, weights.num_classes)
    assert weights.classes is not None
    transfer(weights, model, weights.classes)
    return model.eval()


def raw_output(model: YOLOX, images: np.ndarray) -> np.ndarray:
    """[B, K, 5 + C] in the ONNX layout."""
    with torch.inference_mode():
        regression, objectness, logits = model(torch.tensor(images).permute(0, 3, 1, 2).float())
    return torch.cat((regression, objectness[..., None].sigmoid(), logits.sigmoid()), dim=-1).numpy()


def test_raw_output_is_the_oracles(official: YOLOX, images: np.ndarray, shared_data: Path) -> None:
    oracle = np.load(shared_data / "oracle" / "raw_head_output_416_3imgs.npz")
    for output, image_id in zip(raw_output(official, images), ORACLE_IMAGES, strict=True):
        np.testing.assert_allclose(output, oracle[str(image_id)], rtol=0, atol=1e-3)


def test_official_onnx_has_the_same_output(official: YOLOX, images: np.ndarray, shared_data: Path) -> None:
    detector = load_onnx_detector(shared_data / "weights" / "yolox_nano.onnx", num_threads=1)
    assert (detector.image_size, len(detector.classes), detector.classes[0]) == (SIZE, 80, "person")
    np.testing.assert_allclose(detector.run(images), raw_output(official, images), rtol=0, atol=1e-3)


def oracle_detections(shared_data: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads((shared_data / "oracle/yolox_nano_coco_dev_val_dets.json").read_text())
    return rows


def assert_same_as_oracle(found: list[Detections], ids: list[int], val: dict[int, Path], shared_data: Path) -> int:
    """Every box, score and category of these images; their number is returned."""
    file = json.loads((shared_data / "coco_dev/annotations/instances_val2017.json").read_text())
    category_ids = np.array(sorted(category["id"] for category in file["categories"]))
    rows = oracle_detections(shared_data)
    for image_id, detections in zip(ids, found, strict=True):
        expected = [row for row in rows if row["image_id"] == image_id]
        expected.sort(key=lambda row: -float(str(row["score"])))
        ratio = letterboxed(val[image_id])[1]
        boxes = detections.boxes / ratio
        boxes[:, 2:] -= boxes[:, :2]
        np.testing.assert_allclose(detections.scores, [row["score"] for row in expected], atol=1e-4)
        assert (np.diff(detections.scores) <= 0).all()
        mine = sorted(zip(category_ids[detections.labels].tolist(), boxes.round(0).tolist(), strict=True))
        theirs = sorted((row["category_id"], np.round(row["bbox"], 0).tolist()) for row in expected)  # type: ignore[arg-type]
        assert [category for category, _ in mine] == [category for category, _ in theirs]
        np.testing.assert_allclose([b for _, b in mine], [b for _, b in theirs], atol=1.01)
    return sum(len(detections.scores) for detections in found)


def test_detections_of_all_val_images_are_the_oracles(val: dict[int, Path], shared_data: Path) -> None:
    detector = load_pth_detector(shared_data / "weights" / "yolox_nano_bncal.pth")
    assert detector.image_size == SIZE
    ids = sorted(val)
    found: list[Detections] = []
    for start in range(0, len(ids), 11):
        batch = np.stack([letterboxed(val[image_id])[0] for image_id in ids[start : start + 11]])
        batch.flags.writeable = False  # as Ray hands them over
        found += detector.detect(batch, 0.01, 0.65)
    assert assert_same_as_oracle(found, ids, val, shared_data) == 3968


def test_official_onnx_detects_the_same(images: np.ndarray, val: dict[int, Path], shared_data: Path) -> None:
    detector = load_onnx_detector(shared_data / "weights" / "yolox_nano.onnx", num_threads=1)
    assert_same_as_oracle(detector.detect(images, 0.01, 0.65), list(ORACLE_IMAGES), val, shared_data)


def test_half_precision_finds_the_same_objects(official: YOLOX, images: np.ndarray) -> None:
    names = [str(index) for index in range(80)]
    full = TorchDetector(official, names, SIZE).detect(images, 0.5, 0.65)
    half = TorchDetector(official, names, SIZE, precision="bf16").detect(images, 0.5, 0.65)
    for mine, theirs in zip(half, full, strict=True):
        common = min(len(mine.scores), len(theirs.scores))
        assert common >= 0.7 * len(theirs.scores)
        assert mine.boxes.dtype == np.float32
        np.testing.assert_allclose(mine.scores[:common], theirs.scores[:common], atol=0.05)


def test_no_image_and_nothing_found(official: YOLOX) -> None:
    detector = TorchDetector(official, [str(index) for index in range(80)], SIZE)
    assert detector.detect(np.zeros((0, *SIZE, 3), np.uint8), 0.01, 0.65) == []
    (empty,) = detector.detect(np.full((1, *SIZE, 3), 114, np.uint8), 0.99, 0.65)
    assert (empty.boxes.shape, empty.scores.shape, empty.labels.shape) == ((0, 4), (0,), (0,))
    assert (empty.boxes.dtype, empty.scores.dtype, empty.labels.dtype) == (np.float32, np.float32, np.int64)


def test_wrong_sizes_and_names(official: YOLOX) -> None:
    names = [str(index) for index in range(80)]
    with pytest.raises(ModelError, match="416×416 pixels, not 320×416"):
        TorchDetector(official, names, SIZE).detect(np.zeros((1, 320, 416, 3), np.uint8), 0.01, 0.65)
    with pytest.raises(ConfigError, match="multiples of 32"):
        TorchDetector(official, names, (400, 416))
    with pytest.raises(ModelError, match="80 classes, but 1 names"):
        TorchDetector(official, ["a"], SIZE)


def test_a_nameless_checkpoint_needs_names(tmp_path: Path) -> None:
    path = tmp_path / "three.pth"
    torch.save({"model": YOLOX("nano", 3).state_dict()}, path)
    with pytest.raises(ModelError, match="what its 3 classes are called"):
        load_pth_detector(path)
    assert load_pth_detector(path, (64, 96), ("a", "b", "c")).image_size == (64, 96)


def scored(boxes: list[list[float]], scores: list[float], labels: list[int]) -> ScoredBoxes:
    return ScoredBoxes(torch.tensor([boxes]), torch.tensor([scores]), torch.tensor([labels]))


def test_suppression_by_hand() -> None:
    box, near, far = [0.0, 0, 10, 10], [0.0, 0, 10, 8], [50.0, 50, 60, 60]
    candidates = scored([near, box, box, far], [0.8, 0.9, 0.7, 0.3], [1, 1, 2, 1])
    (found,) = non_max_suppression(candidates, 0.3, 0.65)  # IoU of the first two is 0.8; the third is another class
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.3])
    assert found.labels.tolist() == [1, 2, 1]
    assert found.boxes.tolist() == [box, box, far]
    (kept,) = non_max_suppression(candidates, 0.3, 0.81)
    assert len(kept.scores) == 4
    (one,) = non_max_suppression(candidates, 0.3, 0.65, max_detections=1)
    assert one.scores.tolist() == pytest.approx([0.9])


def test_images_of_a_batch_do_not_meet() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10]], [[0.0, 0, 10, 10]]])
    candidates = ScoredBoxes(boxes, torch.tensor([[0.9], [0.1]]), torch.zeros(2, 1, dtype=torch.int64))
    first, second = non_max_suppression(candidates, 0.2, 0.65)
    assert (len(first.scores), len(second.scores)) == (1, 0)


def test_score_is_objectness_times_best_class() -> None:
    result = score_boxes(torch.zeros(1, 1, 4), torch.tensor([[0.5]]), torch.tensor([[[0.2, 0.8, 0.1]]]))
    assert (result.scores.item(), result.labels.item()) == (pytest.approx(0.4), 1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[YOLOX, Path]:
    torch.manual_seed(0)
    model = YOLOX("nano", 3)
    model(torch.rand(4, 3, 96, 64) * 255)  # running statistics that are not the initial ones
    path = tmp_path_factory.mktemp("export") / "three.onnx"
    export_onnx(model, ("cat", "dog", "Tür"), (96, 64), path)
    return model, path


def test_export_computes_the_same_for_any_batch(exported: tuple[YOLOX, Path]) -> None:
    model, path = exported
    detector = load_onnx_detector(path, num_threads=1)
    assert (detector.classes, detector.image_size) == (("cat", "dog", "Tür"), (96, 64))
    assert model.training  # as it was
    for num_images in (1, 2, 5):
        images = np.random.default_rng(num_images).integers(0, 256, (num_images, 96, 64, 3), np.uint8)
        expected = raw_output(model.eval(), images)
        model.train()
        np.testing.assert_allclose(detector.run(images), expected, rtol=0, atol=1e-4)


def test_export_keeps_no_path_of_this_machine(exported: tuple[YOLOX, Path]) -> None:
    assert b"onnx_export.py" not in exported[1].read_bytes()


def test_export_refusals(exported: tuple[YOLOX, Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="3 classes, but 2 names"):
        export_onnx(exported[0], ("a", "b"), (64, 64), tmp_path / "a.onnx")
    with pytest.raises(ConfigError, match="multiples of 32"):
        export_onnx(exported[0], ("a", "b", "c"), (60, 64), tmp_path / "a.onnx")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x08\x12\x07pytorch", "half"])
def test_files_that_are_no_onnx(content: bytes | str, exported: tuple[YOLOX, Path], tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    whole = exported[1].read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(ModelError, match=r"bad.onnx: is not an ONNX model"):
        load_onnx_detector(path)


def test_onnx_of_other_shapes(exported: tuple[YOLOX, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        load_onnx_detector(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="takes 96×64 pixels, not 64×64"):
        load_onnx_detector(exported[1], image_size=(64, 64))
    with pytest.raises(ModelError, match="has 3 classes, but 1 names"):
        load_onnx_detector(exported[1], classes=("a",))


def write_identity_onnx(path: Path, shape: list[int | str], metadata: dict[str, str]) -> Path:
    """An ONNX file of one node, which takes and gives tensors of these shapes."""
    tensors = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", tensors[:1], tensors[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def test_onnx_of_other_layouts(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    cases: list[tuple[list[int | str], dict[str, str], str]] = [
        ([1, 10], {}, "input is not one"),
        ([1, 3, 64, 64], {}, r"outputs \[\[1, 3, 64, 64\]\] are not one \[B, 84, 5 \+ classes\]"),
        ([1, 3, 60, 64], {}, "multiples of 32"),
        ([1, 3, "h", "w"], {}, "names none"),
        ([1, 3, "h", "w"], {"image_size": "[64"}, "image_size is not JSON"),
        ([1, 3, "h", "w"], {"image_size": "[64, 64, 64]"}, r"image_size is not \[height, width\]"),
        ([1, 3, "h", "w"], {"image_size": "[64, 64]"}, "is not a YOLOX export"),
    ]
    for shape, metadata, message in cases:
        with pytest.raises((ModelError, ConfigError), match=message):
            load_onnx_detector(write_identity_onnx(path, shape, metadata))


@pytest.mark.parametrize("seed", range(6))
def test_numpy_s_suppression_is_torchvision_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (300, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 40, (300, 2))], axis=1).astype(np.float32)
    scores, labels = rng.uniform(0, 1, 300).astype(np.float32), rng.integers(0, 3, 300)
    kept = keep_best(boxes, scores, labels, 0.45)
    candidates = ScoredBoxes(*(torch.from_numpy(part)[None] for part in (boxes, scores, labels)))
    (expected,) = non_max_suppression(candidates, 0.0, 0.45)
    np.testing.assert_array_equal(boxes[kept], expected.boxes)
    np.testing.assert_array_equal(labels[kept], expected.labels)
