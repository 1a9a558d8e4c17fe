"""Imports go one way, and what runs in a data task comes without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORBIDDEN = {
    "model/rayox_model": {"ray", "mlflow", "pydantic", "yaml", "rayox", "rayox_platform", "rayox_cluster"},
    "platform/rayox_platform": {"rayox", "rayox_cluster"},
    "cluster/rayox_cluster": {"rayox", "rayox_platform", "mlflow"},
    "jobs/rayox": {"ray", "mlflow"},
}

# Rooms of a package, and what each imports of the others. CONTRIBUTING.md shows it as a picture.
ROOMS = {
    "platform/rayox_platform": {
        "config": set(),
        "storage": set(),
        "resources": {"ray_internals"},
        "ray_internals": set(),
        "data": {"storage"},
        "runs": {"storage"},
        "stream": {"resources", "ray_internals"},
        "evaluate": {"data"},
        "track": {"config", "storage", "data", "runs"},
        "models": {"config", "storage", "runs", "track"},
        "train": {
            "config",
            "storage",
            "resources",
            "data",
            "runs",
            "stream",
            "evaluate",
            "track",
            "models",
            "ray_internals",
        },
        "tune": {"config", "storage", "resources", "data", "runs", "evaluate", "track", "models", "train"},
        "promote": {"config", "data", "runs", "evaluate", "track", "models"},
    },
    "model/rayox_model": {
        "core": set(),
        "nets": {"core"},
        "assign": {"core"},
        "loss": {"core", "assign"},
        "augment": {"core"},
        "train": {"core", "nets", "assign", "loss"},
        "checkpoint": {"core", "nets", "train"},
        "detect": {"core", "nets", "checkpoint"},
        "replay": {"core", "nets", "assign", "loss", "train"},  # a command of its own
    },
    "jobs/rayox": {
        "process": set(),
        "terminal": set(),
        "data_sets": {"config", "terminal"},
        "submission": {"cli", "config", "process", "tune"},
        "jobs": {"config", "submission", "terminal"},
    },
}
VERBS = "jobs/rayox"  # whose rooms have the verbs beside them, a module each
CONTRIBUTING = ROOT / "CONTRIBUTING.md"


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).split(".")[0])
    return names


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_go_one_way(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        assert not imported(path) & FORBIDDEN[folder], path


@pytest.mark.slow
@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_what_their_table_names_and_nothing_else(package):
    """Also inside functions: an import that is put off is still an arrow."""
    rooms, name = ROOMS[package], package.split("/")[1]
    inside = [path for path in (ROOT / package).iterdir() if path.name != "__init__.py"]
    modules = set() if package == VERBS else {path.stem for path in inside if path.suffix == ".py"}
    assert {path.name for path in inside if (path / "__init__.py").exists()} | modules == set(rooms)
    for room, allowed in rooms.items():
        assert arrows(ROOT / package / room, name) - {room} == allowed, room


def arrows(place: Path, package: str) -> set[str]:
    """The rooms that a room, or a module beside the rooms, imports of its package."""
    found = set()
    for path in place.rglob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        modules = [str(node.module) for node in nodes if node.level == 0]
        found |= {module.split(".")[1] for module in modules if module.startswith(f"{package}.")}
    return found


def test_no_two_modules_of_a_root_have_one_name():
    for root in FORBIDDEN:
        names = [path.name for path in (ROOT / root).rglob("*.py") if path.name != "__init__.py"]
        assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)


@pytest.mark.parametrize("package", ROOMS)
def test_contributing_shows_the_same_arrows(package):
    table = CONTRIBUTING.read_text().partition(f"| room of `{package.split('/')[1]}` |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    shown = {room.strip().strip("`"): imports.strip() for room, _, imports in rows}
    for room, allowed in ROOMS[package].items():
        assert shown[room] == (", ".join(sorted(allowed)) or "–"), room


def test_platform_is_no_package_that_shadows_the_standard_module():
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip()


@pytest.mark.slow
def test_a_data_task_starts_without_torch():
    modules = (
        "rayox_platform.stream.blocks",
        "rayox_platform.data.images",
        "rayox_platform.data.shards",
        "rayox_model.core.quarantine",
    )
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
