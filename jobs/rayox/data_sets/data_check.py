"""`rayox data check`: every defect of a data set at once, and a mended copy."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayox.terminal.console import Console, json_option
from rayox.terminal.progress import progress_of, said_if_silent
from rayox_model.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rayox_platform.data.check.files import Depth, FileFacts, ImageFolder, Look
    from rayox_platform.data.check.findings import Finding
    from rayox_platform.data.check.mend import Mended

DEFAULT_SIZE = 640
RECIPE_ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class CheckResult:
    """What was found, and what a mended copy is like."""

    ok: bool  # no finding is an error
    findings: tuple["Finding", ...]
    fixed: "Mended | None" = None


@click.command("check")
@click.argument("words", nargs=-1, required=True, metavar="FILE")
@click.option("--images", help="Folder the file names start from; without it images are not looked at.")
@click.option("--against", type=click.Path(path_type=Path), help="Another split, which must not share images.")
@click.option("--against-images", help="Its folder of images.", show_default="--images")
@click.option(
    "--image-size", type=click.IntRange(32), help="Side of the training input.", show_default=str(DEFAULT_SIZE)
)
@click.option(
    "--fix", "fix", type=click.Path(path_type=Path, dir_okay=False), help="Write a mended copy; FILE is never changed."
)
@click.option("--quick", "--no-decode", is_flag=True, help="Read the images' headers only: neither decode nor compare.")
@click.option("--address", help="Ray cluster to look at the images with; it must see their folder.")
@json_option
def command(
    words: tuple[str, ...],
    images: str | None,
    against: Path | None,
    against_images: str | None,
    image_size: int | None,
    fix: Path | None,
    quick: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Check a COCO FILE and its images: what would train wrongly is an error (exit code 3), what is odd a warning.

    In place of FILE and --images, a recipe or overrides can say them: `data.train.annotations=…`.

    --fix writes a copy in which every defect with only one possible fix is repaired or dropped; the exit code tells
    of FILE itself.
    From 20,000 images on, and with --address, the images are looked at as Ray tasks.
    """
    console = Console(as_json)
    path, folder, size = _what(words, images, image_size)
    result = check(
        console, path, folder, against, against_images, image_size=size, fix=fix, quick=quick, address=address
    )
    _show(console, path, result)
    console.result(_as_json(result))
    if not result.ok:
        click.get_current_context().exit(DataError.exit_code)


def check(
    console: Console,
    path: Path,
    images: str | None = None,
    against: Path | None = None,
    against_images: str | None = None,
    *,
    image_size: int = DEFAULT_SIZE,
    fix: Path | None = None,
    quick: bool = False,
    address: str | None = None,
) -> CheckResult:
    """All findings of a file. Raises ConfigError or DataError for what cannot be done at all, never for a finding."""
    from rayox_platform.data.check.checker import Against, CheckSettings, check_file
    from rayox_platform.data.check.files import ImageFolder, remembered
    from rayox_platform.data.check.mend import mend_file, refuse_overwriting

    if fix is not None:
        refuse_overwriting(path, fix)
    folder = ImageFolder(images) if images is not None else None
    settings = CheckSettings(folder=folder, depth="header" if quick else "decode", image_size=image_size)
    other = None
    if against is not None:
        other = Against(against, ImageFolder(against_images) if against_images is not None else folder)
    elif against_images is not None:
        raise ConfigError("--against-images goes with --against", "name the other split's file too")
    with ExitStack() as stack:
        silent_no_more = stack.enter_context(said_if_silent(f"reading {path}"))
        look = remembered(_look(stack, address, silent_no_more))
        findings, _ = check_file(path, settings, look, other)
        mended = None
        if fix is not None:
            try:
                mended = mend_file(path, fix, settings, look)
            except DataError as error:
                console.note(f"nothing written to {fix}: {error.message}")
    if mended is not None:
        findings = [found.with_fix(mended.fixed.get(found.code)) for found in findings]
    return CheckResult(not any(found.severity == "error" for found in findings), tuple(findings), mended)


def _what(words: Sequence[str], images: str | None, image_size: int | None) -> tuple[Path, str | None, int]:
    """The file, its folder and the training size, said outright or by settings."""
    path = Path(words[0]).expanduser()
    if len(words) == 1 and path.exists() and path.suffix not in RECIPE_ENDINGS:
        return path, images, image_size or DEFAULT_SIZE
    return _by_settings(words, images, image_size)


def _by_settings(words: Sequence[str], images: str | None, image_size: int | None) -> tuple[Path, str | None, int]:
    from rayox.config import RECIPES, load_recipe  # takes a third of the time that checking a small file does

    given = [word for word in words if "=" in word and not Path(word).exists()]
    files = [word for word in words if word not in given]
    if len(files) > 1:
        raise click.UsageError(f"only one FILE can be checked at a time; {files[1]} is one too many")
    path = Path(files[0]).expanduser() if files else None
    is_recipe = path is not None and (
        path.suffix in RECIPE_ENDINGS or (not path.exists() and (RECIPES / f"{files[0]}.yaml").is_file())
    )
    loaded = load_recipe(files[0] if is_recipe else None, given)
    size = image_size or (max(loaded.config.image_size) if loaded.given("image_size") else DEFAULT_SIZE)
    if path is not None and not is_recipe:
        return path, images, size
    loaded.require("data.train.annotations")
    train = loaded.config.data.train
    if str(train.annotations).startswith("shapes:"):
        raise ConfigError(f"{train.annotations} is drawn by rayox itself", "name a COCO file: data.train.annotations=…")
    return Path(str(train.annotations)).expanduser(), images or train.images, size


def _look(stack: ExitStack, address: str | None, begun: Callable[[], None]) -> "Look":
    """Threads for few images, Ray tasks for many and where a cluster is named; Ray starts when it is needed."""
    from rayox_platform.data.check.files import RAY_FROM_IMAGES, look_with_ray, look_with_threads

    started = False

    def look(folder: "ImageFolder", names: Sequence[str], depth: "Depth") -> "list[FileFacts]":
        nonlocal started
        begun()
        with progress_of("check images") as show:
            if address is None and len(names) < RAY_FROM_IMAGES:
                return look_with_threads(folder, names, depth, show)
            if not started:
                from rayox_cluster.local import ray_session

                stack.enter_context(ray_session(address))
                started = True
            return look_with_ray(folder, names, depth, show)

    return look


def _show(console: Console, path: Path, result: CheckResult) -> None:
    for found in result.findings:
        console.text(f"{found.severity:7}  {found.code} × {found.count}")
        console.text(f"         where  {found.where}")
        console.text(f"         found  {found.detail}")
        console.text(f"         fix    {found.fix}" + (f" Fixed in the copy: {found.fixed}." if found.fixed else ""))
    errors = sum(found.severity == "error" for found in result.findings)
    console.text(f"{path}: {_count(errors, 'error')}, {_count(len(result.findings) - errors, 'warning')}")
    if result.fixed is not None:
        left = [found.code for found in result.fixed.left if found.severity == "error"]
        console.text(f"mended copy  {result.fixed.path}" + (f"; left in it: {', '.join(left)}" if left else ""))
        console.text(str(result.fixed.dropped))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _as_json(result: CheckResult) -> Mapping[str, object]:
    found: dict[str, object] = {"ok": result.ok, "findings": [asdict(finding) for finding in result.findings]}
    if result.fixed is not None:
        left = [asdict(finding) for finding in result.fixed.left]
        dropped = {"images": result.fixed.dropped.images, "annotations": result.fixed.dropped.annotations}
        found["fixed"] = {
            "path": str(result.fixed.path),
            "ok": result.fixed.ok,
            "dropped": dropped,
            "findings": left,
        }
    return found
