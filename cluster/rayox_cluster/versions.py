"""The Pythons and Rays that this rayox works with, as its own metadata (pyproject.toml) say."""

from importlib.metadata import metadata, requires

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version


def ray_range() -> str:
    """As ">=2.55.1,<3"."""
    ray = next(one for one in map(Requirement, requires("rayox") or ()) if one.name == "ray")
    return _shown(ray.specifier)


def python_range() -> str:
    """As ">=3.11"."""
    return _shown(SpecifierSet(metadata("rayox")["Requires-Python"]))


def oldest_python() -> tuple[int, ...]:
    """As (3, 11)."""
    least = next(one for one in SpecifierSet(python_range()) if one.operator == ">=")
    return Version(least.version).release[:2]


def works_with(version: str, wanted: str) -> bool:
    """Whether a version is within a range; one that cannot be read is not."""
    try:
        return SpecifierSet(wanted).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _shown(specifiers: SpecifierSet) -> str:
    return ",".join(sorted(map(str, specifiers), reverse=True))
