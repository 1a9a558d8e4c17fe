"""Two splits of a data set that must not share images: what of the one is in the other too."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from rayox_platform.data.check.files import FileFacts, ImageFolder
from rayox_platform.data.check.findings import Findings
from rayox_platform.data.check.sections import Categories, Images


@dataclass(frozen=True)
class Split:
    """A file's images as far as they were looked at (None: not)."""

    categories: Categories
    images: Images
    folder: ImageFolder | None
    facts: Sequence[FileFacts | None]

    def digests(self) -> dict[bytes, str]:
        return {fact.digest: self.images.place(at) for at, fact in enumerate(self.facts) if fact and fact.digest}

    def names(self) -> dict[str, str]:
        return {
            posixpath.normpath(name): self.images.place(at) for at, name in enumerate(self.images.file_names) if name
        }


def check_leaks(split: Split, other: Split, findings: Findings) -> None:
    """Contents decide; where they were not compared, the same name in the same folder is the same image too."""
    digests, names = other.digests(), other.names()
    same_folder = split.folder is not None and split.folder == other.folder
    for at, (name, fact) in enumerate(zip(split.images.file_names, split.facts, strict=True)):
        path = posixpath.normpath(name) if name else None
        if fact is not None and fact.digest in digests:
            findings.add(
                "leaked-image", split.images.place(at), f"the same contents as the other's {digests[fact.digest]}"
            )
        elif path in names and same_folder:
            findings.add("leaked-image", split.images.place(at), f"the same file as the other's {names[path]}")
        elif path in names and not (fact and fact.digest and digests):
            findings.add("shared-file-name", split.images.place(at), f"the other's {names[path]}")
    _compare_classes(split.categories.class_list, other.categories.class_list, findings)


def _compare_classes(classes: list[str], others: list[str], findings: Findings) -> None:
    if classes == others:
        return
    only, missing = [n for n in classes if n not in others], [n for n in others if n not in classes]
    parts = [
        f"only here: {', '.join(only[:5])}" if only else "",
        f"only there: {', '.join(missing[:5])}" if missing else "",
    ]
    findings.add("classes-differ", "categories", "; ".join(filter(None, parts)) or "the same in another order")
