"""A data set between two formats: classes, images and boxes, and what is wrong with the source, line by line."""

from dataclasses import dataclass, field
from pathlib import Path

from rayox_model.core.errors import DataError


@dataclass(frozen=True)
class Box:
    """One object."""

    label: int
    bbox: tuple[float, float, float, float]  # [x, y, width, height], pixels
    crowd: bool = False
    area: float | None = None  # None: width × height
    difficult: bool = False  # VOC: hard to see, left out of its evaluation


@dataclass(frozen=True)
class LabelledImage:
    file_name: str  # relative to the folder of images
    height: int
    width: int
    boxes: tuple[Box, ...]
    image_id: int | None = None  # of the source, where it has one


@dataclass(frozen=True)
class Labels:
    """A whole data set; category ids only where the source has them."""

    classes: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    category_ids: tuple[int, ...] | None = None
    notes: dict[str, int] = field(default_factory=dict)  # what was odd, and how often


@dataclass
class BadLines:
    """What cannot be read, each with its file and line, collected so that one run names all."""

    found: list[str] = field(default_factory=list)

    def add(self, path: Path | str, line: int | None, message: str) -> None:
        self.found.append(f"{path}:{line}  {message}" if line is not None else f"{path}  {message}")

    def refuse(self, shown: int = 20) -> None:
        """Raises DataError if there is anything."""
        if not self.found:
            return
        more = [f"… and {len(self.found) - shown} more"] if len(self.found) > shown else []
        raise DataError("\n".join([*self.found[:shown], *more]), "Correct these lines; nothing was written.")
