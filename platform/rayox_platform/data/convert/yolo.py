"""YOLO's text files: one an image, a line an object: class, center x, center y, width, height in fractions.

Classes are in data.yaml (`names`) or classes.txt. The text of images/a/b.jpg is labels/a/b.txt, or lies beside it.
An image without a text file has no objects. A line of a polygon (class and at least three points) is read as its box.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from rayox_model.core.errors import DataError
from rayox_platform.data.convert.labels import BadLines, Box, LabelledImage, Labels
from rayox_platform.data.walking import files_under

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
_SLACK = 1e-3  # of the image's side: what rounding to three digits does to an edge
_DIGITS = 9  # after the point: a millionth of a pixel

Progress = Callable[[int, int], None]


def read_yolo(
    source: Path, images: Path | None = None, classes: Sequence[str] | None = None, progress: Progress | None = None
) -> Labels:
    """Read `source`: a data.yaml, or a folder with images/ and labels/, or with texts beside images.

    Sizes come from the images' headers. Raises DataError naming every bad line and image.
    """
    folder = source if source.is_dir() else source.parent
    if not source.exists():
        raise DataError(f"{source}: no such file or folder", "Give a data.yaml, or the folder of the data set.")
    names = tuple(classes or _classes(source, folder))
    root = images or (folder / "images" if (folder / "images").is_dir() else folder)
    found = map(root.joinpath, files_under(root)) if root.is_dir() else ()
    files = sorted(path for path in found if path.suffix.lower() in IMAGE_ENDINGS)
    if not files:
        raise DataError(f"{root}: no images, and YOLO's fractions need their sizes", "Name their folder: --images DIR.")
    bad = BadLines()
    used: set[Path] = set()
    read = []
    for done, path in enumerate(files, start=1):
        read.append(_image(path, root, folder, names, bad, used))
        if progress is not None:
            progress(done, len(files))
    _name_texts_without_images(_labels_beside(root) or folder / "labels", used, bad)
    bad.refuse()
    return Labels(names, tuple(read))


def _name_texts_without_images(labels: Path, used: set[Path], bad: BadLines) -> None:
    for path in sorted(map(labels.joinpath, files_under(labels))) if labels.is_dir() else []:
        if path.suffix == ".txt" and path not in used and path.name != "classes.txt":
            bad.add(path, None, "there is no image of this name")


def _classes(source: Path, folder: Path) -> Sequence[str]:
    candidates = [source] if source.is_file() else [folder / name for name in ("data.yaml", "dataset.yaml", "data.yml")]
    for path in candidates:
        if path.is_file():
            return _yaml_names(path)
    for path in (folder / "classes.txt", folder / "labels" / "classes.txt"):
        if path.is_file():
            return read_class_file(path)
    raise DataError(f"{folder}: no data.yaml and no classes.txt", "Name the classes: --classes FILE.")


def _yaml_names(path: Path) -> list[str]:
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not valid YAML ({' '.join(str(error).split())})", "Mend it, or use --classes."
        ) from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{path}: names is not a list of classes", "Write names: [first, second], or use --classes.")
    return _unique(names, path)


def read_class_file(path: Path) -> list[str]:
    """A class a line, in the order of the numbers."""
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})", "It is a text with a class a line.") from None
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        raise DataError(f"{path}: a class has no name", "Write one class a line, without blank lines.")
    return _unique(names, path)


def _unique(names: list[str], path: Path) -> list[str]:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path}: class {twice!r} is listed twice", "Give each class its own name.")
    return names


def _image(
    path: Path, root: Path, folder: Path, classes: Sequence[str], bad: BadLines, used: set[Path]
) -> LabelledImage:
    name = path.relative_to(root).as_posix()
    text = _text_of(path, name, folder)
    if text is not None:
        used.add(text)
    try:
        height, width = _header_size(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        bad.add(path, None, f"no image ({error})")
        return LabelledImage(name, 0, 0, ())
    boxes: list[Box] = []
    if text is not None:
        try:
            lines = text.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            bad.add(text, None, f"cannot be read ({error})")
            lines = []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    boxes.append(_box(line, len(classes), height, width))
                except ValueError as error:
                    bad.add(text, number, str(error))
    return LabelledImage(name, height, width, tuple(boxes))


def _text_of(path: Path, name: str, folder: Path) -> Path | None:
    candidates = [_labels_beside(path), folder / "labels" / name, path]
    texts = [file.with_suffix(".txt") for file in candidates if file is not None]
    return next((text for text in texts if text.is_file()), None)


def _labels_beside(path: Path) -> Path | None:
    """The same path with labels/ for the last images/ in it."""
    places = [at for at, part in enumerate(path.parts) if part == "images"]
    return Path(*path.parts[: places[-1]], "labels", *path.parts[places[-1] + 1 :]) if places else None


def _header_size(path: Path) -> tuple[int, int]:
    """(height, width) as viewers show the image."""
    with Image.open(path) as image:
        sideways = image.getexif().get(0x0112) in (5, 6, 7, 8)
        width, height = image.size
    return (width, height) if sideways else (height, width)


def _box(line: str, num_classes: int, height: int, width: int) -> Box:
    """Raises ValueError saying what is wrong with the line."""
    words = line.split()
    if not words[0].isascii() or not words[0].isdecimal() or int(words[0]) >= num_classes:
        raise ValueError(f"class {words[0]!r} is not a number from 0 to {num_classes - 1}")
    try:
        numbers = [float(word) for word in words[1:]]
    except ValueError as error:
        raise ValueError(f"{error} in {line.strip()[:60]!r}") from None
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"a number is not finite in {line.strip()[:60]!r}")
    x1, y1, x2, y2 = _corners(numbers, line)
    if min(x1, y1) < -_SLACK or max(x2, y2) > 1 + _SLACK:
        hint = " (pixels, not fractions?)" if max(numbers) > 2 else ""
        raise ValueError(f"the box leaves the image{hint}: {line.strip()[:60]!r}")
    if x2 <= x1 or y2 <= y1:
        raise ValueError(f"the box has no area: {line.strip()[:60]!r}")
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, 1.0), min(y2, 1.0)
    return Box(int(words[0]), (x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height))


def _corners(numbers: Sequence[float], line: str) -> tuple[float, float, float, float]:
    if len(numbers) == 4:
        x, y, w, h = numbers
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2
    if len(numbers) >= 6 and len(numbers) % 2 == 0:
        return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])
    raise ValueError(f"{len(numbers)} numbers after the class, where a box has 4: {line.strip()[:60]!r}")


def write_yolo(labels: Labels, output: Path) -> dict[str, int]:
    """Write labels/…txt, data.yaml and classes.txt under `output`; what YOLO cannot say is counted.

    Crowds are left out, boxes are clipped to their image. Raises DataError if two images share a text file.
    """
    counts = {"crowds (left out: YOLO has none)": 0, "boxes outside their image (left out)": 0}
    counts |= {"boxes past the edge (clipped)": 0, "difficult flags (left out: YOLO has none)": 0}
    texts: dict[str, str] = {}
    for image in labels.images:
        path = Path(image.file_name).with_suffix(".txt").as_posix()
        if path in texts:
            raise DataError(f"{image.file_name}: another image of this name has the same {path}", "Rename one.")
        texts[path] = "".join(line for box in image.boxes if (line := _line(box, image, counts)))
    for path, text in texts.items():
        file = output / "labels" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    names = list(labels.classes)
    (output / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    settings = {"path": ".", "train": "images", "val": "images", "nc": len(names), "names": names}
    (output / "data.yaml").write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return {what: count for what, count in counts.items() if count}


def _line(box: Box, image: LabelledImage, counts: dict[str, int]) -> str:
    if box.crowd:
        counts["crowds (left out: YOLO has none)"] += 1
        return ""
    x, y, w, h = box.bbox
    x1, y1, x2, y2 = max(x, 0.0), max(y, 0.0), min(x + w, float(image.width)), min(y + h, float(image.height))
    if x2 <= x1 or y2 <= y1:
        counts["boxes outside their image (left out)"] += 1
        return ""
    counts["boxes past the edge (clipped)"] += max(x1 - x, y1 - y, x + w - x2, y + h - y2) > 0.5
    counts["difficult flags (left out: YOLO has none)"] += box.difficult
    center_x, center_y = (x1 + x2) / 2 / image.width, (y1 + y2) / 2 / image.height
    numbers = (center_x, center_y, (x2 - x1) / image.width, (y2 - y1) / image.height)
    return " ".join([str(box.label), *(f"{number:.{_DIGITS}f}".rstrip("0").rstrip(".") for number in numbers)]) + "\n"
