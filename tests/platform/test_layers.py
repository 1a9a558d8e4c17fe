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


def test_platform_is_no_package_that_shadows_the_standard_module():
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip()


def test_a_data_task_starts_without_torch():
    modules = "rayox_platform.blocks, rayox_platform.data.images, rayox_platform.data.shards, rayox_model.quarantine"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
