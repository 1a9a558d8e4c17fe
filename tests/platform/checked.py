"""Checks of files as tests call them."""

import json
from pathlib import Path

from rayox_platform.data.check.checker import Against, CheckSettings, check_file
from rayox_platform.data.check.files import look_with_threads, remembered
from rayox_platform.data.check.findings import Finding

LOOK = remembered(look_with_threads)


def check(path: Path, settings: CheckSettings, against: Against | None = None) -> list[Finding]:
    return check_file(path, settings, LOOK if against is None else look_with_threads, against)[0]


def codes(findings: list[Finding]) -> set[str]:
    return {found.code for found in findings}


def written(path: Path, coco: object) -> Path:
    path.write_bytes(coco if isinstance(coco, bytes) else json.dumps(coco).encode())
    return path
