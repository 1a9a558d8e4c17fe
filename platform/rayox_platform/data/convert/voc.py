"""Pascal VOC: a folder of XML files, one an image, with boxes of corner pixels counted from 1.

A box from xmin to xmax covers both pixels, so its width is xmax − xmin + 1 (VOC2012 development kit, Sec. 5.1);
`difficult` objects are kept, marked `difficult` and `ignore`, as VOC's own evaluation neither asks nor counts them.
"""

import math
import re
import xml.parsers.expat
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rayox_model.core.errors import DataError
from rayox_platform.data.convert.labels import BadLines, Box, LabelledImage, Labels

_MAX_BYTES = 50_000_000
_WHOLE = re.compile(r"[0-9]+")


@dataclass
class _Element:
    """One element of an XML file, with the line it starts in."""

    name: str
    line: int
    text: str = ""
    children: list["_Element"] = field(default_factory=list)

    def child(self, name: str) -> "_Element | None":
        return next((child for child in self.children if child.name == name), None)

    def value(self, name: str) -> str:
        """The text of a child; empty if there is none."""
        child = self.child(name)
        return child.text.strip() if child is not None else ""


class _Defect(Exception):
    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


def read_voc(source: Path, classes: Sequence[str] | None = None) -> Labels:
    """Read `source`: a folder of XML files, or one with Annotations/ (and ImageSets/Main/*.txt); or such a .txt.

    Classes are the given ones, else all names in alphabetical order. Raises DataError naming every bad line.
    """
    files = _files(source)
    bad = BadLines()
    read = []
    for path in files:
        try:
            read.append((path, _parse(path)))
        except _Defect as defect:
            bad.add(path, defect.line, str(defect))
    objects = [element for _, root in read for element in root.children if element.name == "object"]
    names = tuple(classes or sorted({element.value("name") for element in objects} - {""}))
    if not names:
        bad.refuse()
        raise DataError(f"{source}: no objects, so there are no classes", "Name the classes: --classes FILE.")
    notes: Counter[str] = Counter()
    images = [_image(path, root, names, bad, notes) for path, root in read]
    _name_repeated([(path, image.file_name) for (path, _), image in zip(read, images, strict=True)], bad)
    bad.refuse()
    return Labels(names, tuple(images), notes=dict(notes))


def _name_repeated(names: list[tuple[Path, str]], bad: BadLines) -> None:
    first: dict[str, Path] = {}
    for path, name in names:
        if name and first.setdefault(name, path) != path:
            bad.add(path, None, f"filename {name!r} is that of {first[name].name} too")


def _files(source: Path) -> list[Path]:
    if source.is_file():  # a list of ImageSets/Main
        folder = source.parent.parent.parent / "Annotations"
        try:
            lines = [line.split()[0] for line in source.read_text(encoding="utf-8").splitlines() if line.split()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{source}: cannot be read ({error})", "Give a folder, or a list of names.") from None
        return [folder / f"{name}.xml" for name in lines]
    folder = source / "Annotations" if (source / "Annotations").is_dir() else source
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise DataError(f"{source}: no XML files, neither here nor in Annotations/", "Give the folder that holds them.")
    return files


def _parse(path: Path) -> _Element:
    """The tree of a file. A document type or an entity is refused: they are what XML attacks are made of."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _Defect(None, f"cannot be read ({error.strerror})") from None
    if len(content) > _MAX_BYTES:
        raise _Defect(None, f"{len(content)} bytes are not an annotation")
    root = _Element("", 0)
    open_elements = [root]
    parser = xml.parsers.expat.ParserCreate()

    def start(name: str, _: dict[str, str]) -> None:
        element = _Element(name, parser.CurrentLineNumber)
        open_elements[-1].children.append(element)
        open_elements.append(element)

    def end(_: str) -> None:
        open_elements.pop()

    def text(data: str) -> None:
        open_elements[-1].text += data

    def refuse(*_: object) -> None:
        raise _Defect(parser.CurrentLineNumber, "declares a document type or entities, which no annotation needs")

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except xml.parsers.expat.ExpatError as error:
        raise _Defect(error.lineno, f"no XML: {xml.parsers.expat.ErrorString(error.code)}") from None
    except (LookupError, ValueError) as error:  # of the encoding it says it has
        raise _Defect(1, f"no XML: {error}") from None
    if root.children[0].name != "annotation":
        raise _Defect(root.children[0].line, f"<{root.children[0].name}> where VOC has <annotation>")
    return root.children[0]


def _image(path: Path, root: _Element, classes: Sequence[str], bad: BadLines, notes: Counter[str]) -> LabelledImage:
    try:
        height, width = _size(root)
        name = _file_name(root, path)
    except _Defect as defect:
        bad.add(path, defect.line, str(defect))
        return LabelledImage("", 0, 0, ())
    boxes = []
    for element in root.children:
        if element.name == "object":
            try:
                boxes.append(_box(element, classes, height, width, notes))
            except _Defect as defect:
                bad.add(path, defect.line, str(defect))
    return LabelledImage(name, height, width, tuple(boxes))


def _size(root: _Element) -> tuple[int, int]:
    size = root.child("size")
    if size is None:
        raise _Defect(root.line, "no <size>")
    sides = [size.value(name) for name in ("height", "width")]
    if not all(_WHOLE.fullmatch(side) and 0 < int(side) < 10_000_000 for side in sides):
        raise _Defect(size.line, f"size of height {sides[0]!r} and width {sides[1]!r}")
    return int(sides[0]), int(sides[1])


def _file_name(root: _Element, path: Path) -> str:
    name = root.value("filename") or f"{path.stem}.jpg"
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise _Defect(root.line, f"filename {name!r} leads out of the folder of images")
    return name


def _box(element: _Element, classes: Sequence[str], height: int, width: int, notes: Counter[str]) -> Box:
    name, frame = element.value("name"), element.child("bndbox")
    if name not in classes:
        raise _Defect(element.line, f"name {name!r} is none of the classes" if name else "an object without a name")
    if frame is None:
        raise _Defect(element.line, "an object without <bndbox>")
    try:
        corners = [float(frame.value(side)) for side in ("xmin", "ymin", "xmax", "ymax")]
    except ValueError as error:
        raise _Defect(frame.line, f"bndbox: {error}") from None
    x1, y1, x2, y2 = corners
    if not all(map(math.isfinite, corners)) or x2 < x1 or y2 < y1 or x1 > width or y1 > height or x2 < 1 or y2 < 1:
        raise _Defect(frame.line, f"bndbox {corners} is not a box in {width} × {height} pixels (width × height)")
    left, top, right, bottom = max(x1 - 1, 0.0), max(y1 - 1, 0.0), min(x2, float(width)), min(y2, float(height))
    if (left, top, right, bottom) != (x1 - 1, y1 - 1, x2, y2):
        notes["boxes past the edge, also those that begin at 0 (clipped)"] += 1
    difficult = element.value("difficult") == "1"
    if difficult:
        notes["difficult objects (kept, with ignore 1)"] += 1
    return Box(classes.index(name), (left, top, right - left, bottom - top), difficult=difficult)
