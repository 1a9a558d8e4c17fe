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
        "stream": {"resources", "data", "ray_internals"},
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
        "promote": {"config", "storage", "data", "runs", "evaluate", "track", "models"},
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
    },
}


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
def test_rooms_import_only_what_their_table_names(package):
    """Also inside functions: an import that is put off is still an arrow."""
    rooms, name = ROOMS[package], package.split("/")[1]
    folders = {path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()}
    assert folders == set(rooms)
    for room, allowed in rooms.items():
        for path in (ROOT / package / room).rglob("*.py"):
            nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
            modules = [str(node.module) for node in nodes if node.level == 0]
            others = {module.split(".")[1] for module in modules if module.startswith(f"{name}.")} - {room}
            assert others <= allowed, path


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
