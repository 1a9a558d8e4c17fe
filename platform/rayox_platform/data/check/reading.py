"""Reading JSON as leniently as it goes, so that one look finds every defect: NaN, repeated keys, other encodings."""

import codecs
import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayox_platform.data.check.fast import FROM_BYTES, read_fast
from rayox_platform.data.check.findings import Findings, short
from rayox_platform.data.check.segmentation import segmentation_problem
from rayox_platform.data.other_coco_files import other_coco_file

Record = dict[str, Any]
SECTIONS = ("images", "annotations", "categories")

_ARCHIVES = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_NEAR_THE_END = 12  # characters: a word or number that was cut


@dataclass
class Document:
    """What a file's JSON holds, as far as it is an object."""

    top: Record
    lossless: bool = True  # False where characters could not be read, so that a copy would lose them
    merged: list[str] = field(default_factory=list)  # sections that stood there twice, now one


def read_leniently(path: Path, findings: Findings, keep_all: bool = False) -> Document | None:
    """The file's object; None, with findings that say why, where there is none.

    A section that stands there twice is put together. Segmentations, most of a large file, are replaced by what is
    wrong with them (None: nothing) unless keep_all.
    """
    content = _content(path, findings)
    if content is None:
        return None
    if len(content) >= FROM_BYTES and not keep_all:
        with _without_garbage_collection():
            top = read_fast(content)
        if top is not None:
            return None if _is_other_coco_file(top, findings) else Document(top)
    text, lossless = _text(content, findings)
    del content  # as large as the text
    parser = _Parser(keep_all)
    try:
        with _without_garbage_collection():
            value = json.loads(text, object_pairs_hook=parser.object, parse_constant=parser.constant)
    except json.JSONDecodeError as error:
        _name_what_is_no_json(text, error, findings)
        return None
    except (ValueError, RecursionError) as error:
        findings.add("invalid-json", "the file", f"{error}")
        return None
    if parser.constants:
        findings.add("not-strict-json", "the file", ", ".join(sorted(set(parser.constants))), len(parser.constants))
    if not isinstance(value, dict):
        _name_what_is_no_object(value, findings)
        return None
    if _is_other_coco_file(value, findings):
        return None
    document = Document(value, lossless)
    _merge_repeated(document, parser, findings)
    if not any(key in value for key in SECTIONS):
        findings.add("not-coco", "top level", f"found {', '.join(map(str, list(value)[:8])) or 'nothing'}")
        return None
    return document


def _content(path: Path, findings: Findings) -> bytes | None:
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        findings.add("unreadable-file", str(path), getattr(error, "strerror", None) or str(error))
        return None
    if not content.strip():
        findings.add("empty-file", str(path), f"{len(content)} bytes")
        return None
    for magic, kind in _ARCHIVES.items():
        if content.startswith(magic):
            findings.add("compressed-file", str(path), kind)
            return None
    return content


def _text(content: bytes, findings: Findings) -> tuple[str, bool]:
    """The text, and whether every character could be read."""
    if content.startswith(codecs.BOM_UTF8):
        findings.add("byte-order-mark", "byte 0", "UTF-8 with a byte order mark")
        content = content[len(codecs.BOM_UTF8) :]
    encoding = json.detect_encoding(content)
    if encoding.startswith("utf-8"):
        try:
            return content.decode(), True
        except UnicodeDecodeError as error:
            findings.add("not-utf8", f"byte {error.start}", f"{content[error.start : error.end]!r}: {error.reason}")
            return content.decode(errors="replace"), False
    findings.add("not-utf8", "byte 0", encoding.upper())
    try:
        return content.decode(encoding), True
    except UnicodeDecodeError:
        return content.decode(errors="replace"), False


class _Parser:
    """Sees every object with its keys as written, and every constant that JSON does not have."""

    def __init__(self, keep_all: bool) -> None:
        self.keep_all = keep_all
        self.constants: list[str] = []
        self.repeated: list[tuple[Record, list[tuple[str, Any]]]] = []

    def object(self, pairs: list[tuple[str, Any]]) -> Record:
        record = dict(pairs)
        if len(record) != len(pairs):
            self.repeated.append((record, pairs))
        if not self.keep_all and "segmentation" in record:
            record["segmentation"] = segmentation_problem(record["segmentation"])
        return record

    def constant(self, word: str) -> float:
        self.constants.append(word)
        return float(word)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Millions of objects that all stay: looking through them again and again takes most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _name_what_is_no_json(text: str, error: json.JSONDecodeError, findings: Findings) -> None:
    where = f"line {error.lineno}, column {error.colno}"
    length = len(text.rstrip())
    if error.msg == "Extra data":
        findings.add("json-lines", where, f"another value: {short(text[error.pos : error.pos + 40])}")
    elif error.pos >= length - _NEAR_THE_END or error.msg.startswith("Unterminated string"):
        findings.add("truncated-json", where, f"ends after {length} characters with {short(text[:length][-30:])}")
    else:
        findings.add("invalid-json", where, f"{error.msg}: {short(text[error.pos : error.pos + 40])}")


def _name_what_is_no_object(value: Any, findings: Findings) -> None:
    if isinstance(value, list) and value and isinstance(value[0], dict) and {"score", "bbox"} <= value[0].keys():
        findings.add("results-file", "top level", f"{len(value)} records with scores")
    else:
        findings.add("not-coco", "top level", f"a {type(value).__name__}, not an object")


def _is_other_coco_file(top: Record, findings: Findings) -> bool:
    what = other_coco_file(top)
    if what is not None:
        findings.add("other-coco-file", "annotations[0]", what)
    return what is not None


def _merge_repeated(document: Document, parser: _Parser, findings: Findings) -> None:
    places = {
        id(record): f"{section}[{position}]"
        for section in SECTIONS
        if parser.repeated and isinstance(document.top.get(section), list)
        for position, record in enumerate(document.top[section])
    }
    for record, pairs in parser.repeated:
        keys = [key for key, _ in pairs]
        for key in dict.fromkeys(key for key in keys if keys.count(key) > 1):
            values = [value for name, value in pairs if name == key]
            where = "top level" if record is document.top else places.get(id(record), "an inner object")
            findings.add("duplicate-key", where, f'"{key}" {len(values)} times')
            if record is document.top and key in SECTIONS and all(isinstance(value, list) for value in values):
                record[key] = [item for value in values for item in value]
                document.merged.append(key)
