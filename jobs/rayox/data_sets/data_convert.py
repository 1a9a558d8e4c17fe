"""`rayox data convert`: annotations of other tools as COCO, and COCO as YOLO's text files."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayox.terminal.console import Console, json_option
from rayox.terminal.progress import progress_of
from rayox_model.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rayox_platform.data.convert.labels import Labels


@dataclass(frozen=True)
class ConvertResult:
    """What was written, and what could not be said in the new format."""

    output: str
    images: int
    boxes: int
    classes: tuple[str, ...]
    notes: Mapping[str, int]


@click.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="COCO: a file; YOLO: a folder.")
@click.option(
    "--from", "from_format", required=True, type=click.Choice(["voc", "yolo", "coco"]), help="SOURCE's format."
)
@click.option("--to", "to_format", required=True, type=click.Choice(["coco", "yolo"]), help="OUTPUT's format.")
@click.option("--classes", type=click.Path(path_type=Path), help="Text with a class a line, in order.")
@click.option("--images", type=click.Path(path_type=Path), help="Folder of images; for YOLO it also chooses the split.")
@json_option
def command(
    source: Path,
    output: Path,
    from_format: str,
    to_format: str,
    classes: Path | None,
    images: Path | None,
    as_json: bool,
) -> None:
    """Turn SOURCE into COCO or YOLO annotations; images are not copied.

    VOC: SOURCE is a folder of XML files (or with Annotations/), or a list of ImageSets/Main. Classes are in the order
    of their names. Objects marked difficult are kept, with difficult and ignore 1.

    YOLO: SOURCE is a data.yaml or a folder with images/ and labels/. Sizes come from the images. What is written has
    labels/, data.yaml and classes.txt, and images as a link to --images. Crowds are left out and counted.

    COCO: SOURCE is a file that `rayox data check` finds no errors in.

    Anything that cannot be read is named with its file and line (exit code 3), and nothing is written.
    """
    console = Console(as_json)
    result = convert(source, output, from_format, to_format, classes, images)
    console.text(f"{result.images} images, {result.boxes} boxes, {len(result.classes)} classes: {result.output}")
    for what, count in result.notes.items():
        console.note(f"{count} × {what}")
    console.result(asdict(result))


def convert(
    source: Path,
    output: Path,
    from_format: str,
    to_format: str,
    classes: Path | None = None,
    images: Path | None = None,
) -> ConvertResult:
    """Read the whole source, then write. Raises ConfigError or DataError, and then nothing is written."""
    from rayox_platform.data.convert.coco_file import write_coco
    from rayox_platform.data.convert.yolo import write_yolo

    _refuse(source, output, from_format, to_format, classes)
    labels = _read(source, from_format, classes, images)
    notes = dict(labels.notes)
    if to_format == "coco":
        write_coco(labels, output)
    else:
        notes |= write_yolo(labels, output)
        if images is not None:
            os.symlink(images.absolute(), output / "images", target_is_directory=True)
    return ConvertResult(
        output=str(output),
        images=len(labels.images),
        boxes=sum(len(image.boxes) for image in labels.images),
        classes=labels.classes,
        notes=notes,
    )


def _refuse(source: Path, output: Path, from_format: str, to_format: str, classes: Path | None) -> None:
    if from_format == to_format:
        raise ConfigError(f"--from and --to are both {to_format}", "there is nothing to convert")
    if classes is not None and from_format == "coco":
        raise ConfigError("--classes: a COCO file names its classes itself", "leave it out")
    if not source.exists():
        raise DataError(f"{source}: no such file or folder", "Check the path.")
    if output.exists() and os.path.samefile(source, output):
        raise ConfigError(f"-o: {output} is the source itself", "name another place")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"-o: {output.parent}: no such folder", "make it, or name another place")
    if to_format == "coco" and output.is_dir():
        raise ConfigError(f"-o: {output} is a folder", "name a file for the COCO annotations")
    if to_format == "yolo" and output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ConfigError(f"-o: {output} is not an empty folder", "name a new one for the YOLO data set")


def _read(source: Path, from_format: str, classes: Path | None, images: Path | None) -> "Labels":
    from rayox_platform.data.convert.coco_file import read_coco_labels
    from rayox_platform.data.convert.voc import read_voc
    from rayox_platform.data.convert.yolo import read_class_file, read_yolo

    names = read_class_file(classes) if classes is not None else None
    if from_format == "voc":
        return read_voc(source, names)
    if from_format == "coco":
        return read_coco_labels(source, images)
    with progress_of("read images") as show:
        return read_yolo(source, images, names, show)
