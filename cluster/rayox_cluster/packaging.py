"""The installed rayox as a wheel and a job's own files as a zip: all that a job uploads, the same bytes every time."""

import hashlib
import io
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from importlib.metadata import distribution, version
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("rayox", "rayox_platform", "rayox_model", "rayox_cluster")
KINDS = (".py", ".typed", ".yaml", ".json", ".sh")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip knows


def installed_files() -> dict[str, bytes]:
    """Every file of the four packages as they are imported here, by its name in a wheel."""
    files = {}
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        root = Path(next(iter(spec.submodule_search_locations)))
        for path in root.rglob("*"):
            if path.suffix in KINDS and path.is_file():
                files[f"{package}/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return dict(sorted(files.items()))


def digest() -> str:
    """Tells one rayox from another, whatever their versions say."""
    found = hashlib.sha256()
    for name, content in installed_files().items():
        found.update(f"{name} {len(content)}\n".encode() + content)
    return found.hexdigest()[:16]


def build_wheel() -> bytes:
    """A wheel of the rayox that runs here, also when only a wheel of it is installed."""
    files = installed_files()
    info = f"rayox-{version('rayox')}.dist-info"
    metadata = distribution("rayox").read_text("METADATA") or f"Name: rayox\nVersion: {version('rayox')}\n"
    files[f"{info}/METADATA"] = metadata.encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: rayox\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nrayox = rayox.cli:main\n"
    lines = [f"{name},sha256={_record_digest(content)},{len(content)}" for name, content in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    return build_zip(files)


def build_zip(files: Mapping[str, bytes]) -> bytes:
    """A zip whose bytes depend on names and contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _record_digest(content: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
