"""Names of images that a file gives by web address alone, as LVIS does (coco_url): folder and file of the address."""

import posixpath
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

URL_KEY = "coco_url"


def name_from_url(url: Any) -> str | None:
    """`train2017/000000000001.jpg` of an address that ends so; None for what is not the address of a file."""
    if not isinstance(url, str) or "://" not in url:
        return None
    try:
        parts = [part for part in unquote(urlsplit(url).path).split("/") if part not in ("", ".", "..")]
    except ValueError:
        return None
    return "/".join(parts[-2:]) or None


def names_as_in(names: Sequence[str], has: Callable[[str], bool]) -> Sequence[str]:
    """The names, without their folder if the first file lies in this folder itself and not in one of that name."""
    if not names or has(names[0]):
        return names
    bare = [posixpath.basename(name) for name in names]
    return bare if has(bare[0]) and len(set(bare)) == len(bare) else names
