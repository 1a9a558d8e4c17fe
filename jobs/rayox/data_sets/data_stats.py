"""`rayox data stats`: what a data set is like, as a table and as a picture."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayox.terminal.console import Console, json_option
from rayox.terminal.progress import progress_of, said_if_silent
from rayox_model.core.errors import ConfigError

if TYPE_CHECKING:
    from rayox_platform.data.check.files import Depth, FileFacts
    from rayox_platform.data.stats.measure import DataStats

PICTURES = (".png", ".svg", ".pdf")


@click.command("stats")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--images", help="Folder of images, for sizes that FILE leaves out.")
@click.option(
    "--image-size", type=click.IntRange(32), default=640, show_default=True, help="Side of the training input."
)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Draw it: .png, .svg or .pdf.")
@json_option
def command(file: Path, images: str | None, image_size: int, output: Path | None, as_json: bool) -> None:
    """Count and measure the images, boxes and classes of a COCO FILE.

    Boxes are counted without crowds. Small is an area below 32² pixels, large from 96²: in the image by the annotated
    area, at training size by width × height in the letterboxed input.
    """
    console = Console(as_json)
    found = stats(file, images, image_size, output)
    _show(console, found)
    if output is not None:
        console.text(f"\npicture  {output}")
    console.result(asdict(found) | {"picture": str(output) if output is not None else None})


def stats(file: Path, images: str | None = None, image_size: int = 640, output: Path | None = None) -> "DataStats":
    """The numbers of a file, and with `output` their picture. Raises ConfigError or DataError."""
    from rayox_platform.data.check.files import ImageFolder, look_with_threads
    from rayox_platform.data.stats.measure import measure, numbers_of

    if output is not None and (output.suffix.lower() not in PICTURES or not output.absolute().parent.is_dir()):
        raise ConfigError(
            f"-o: {output} is not a file ending in {', '.join(PICTURES)} in an existing folder", "name another file"
        )
    with said_if_silent(f"reading {file}") as silent_no_more, progress_of("read sizes") as show:

        def look(folder: ImageFolder, names: Sequence[str], depth: "Depth") -> "list[FileFacts]":
            silent_no_more()
            return look_with_threads(folder, names, depth, show)

        measured = measure(file.expanduser(), ImageFolder(images) if images is not None else None, look, image_size)
    found = numbers_of(measured, image_size)
    if output is not None:
        from rayox_platform.data.stats.picture import draw_stats

        try:
            draw_stats(measured, found, file.name, output)
        except OSError as error:
            raise ConfigError(f"-o: {output} cannot be written ({error.strerror})", "name another file") from None
    return found


def _show(console: Console, found: "DataStats") -> None:
    console.table(
        ("of the whole", "number"),
        [
            ("images", found.images),
            ("images without annotations", found.empty_images),
            ("boxes", found.boxes),
            ("crowds", found.crowds),
            ("annotations left out (see rayox data check)", found.left_out),
        ],
    )
    console.text("")
    console.table(("class", "boxes", "images"), [(item.name, item.boxes, item.images) for item in found.classes])
    console.text("")
    rows = [("in the image", found.sizes), (f"at {found.image_size} px", found.sizes_at_training)]
    console.table(("boxes by size", "small", "medium", "large"), [(n, s.small, s.medium, s.large) for n, s in rows])
    console.text("")
    spreads = {
        "boxes an image": found.boxes_per_image,
        "width / height": found.aspect_ratios,
        f"shorter side at {found.image_size} px": found.shorter_sides_at_training,
    }
    names = list(found.boxes_per_image)
    console.table(("spread", *names), [(what, *(of.get(name) for name in names)) for what, of in spreads.items()])
    console.text("")
    console.table(("image size (width × height)", "images"), found.image_sizes)
