"""What a job uploads: a wheel that installs and is the rayox that runs here, and zips that are the same every time."""

import io
import subprocess
import sys
import zipfile
from importlib.metadata import version

from rayox_cluster.packaging import PACKAGES, build_wheel, build_zip, digest, installed_files


def test_the_wheel_is_the_rayox_that_runs_here(tmp_path):
    """Unpacked into an empty place and imported there, without anything of this checkout on the path."""
    wheel = build_wheel()
    assert wheel == build_wheel()
    place = tmp_path / "unpacked"
    zipfile.ZipFile(io.BytesIO(wheel)).extractall(place)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import rayox, rayox_platform, rayox_model, rayox_cluster.packaging as packaging\n"
        "from importlib.metadata import version\n"
        "wheel = packaging.build_wheel().hex()[:64]\n"
        "print(rayox.__file__.startswith(sys.argv[1]), version('rayox'), packaging.digest(), wheel)"
    )
    done = subprocess.run([sys.executable, "-c", code, place], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", version("rayox"), digest(), wheel.hex()[:64]]


def test_the_wheel_has_the_code_and_recipes_and_nothing_else():
    names = set(installed_files())
    assert {name.split("/")[0] for name in names} == set(PACKAGES)
    assert {"rayox/cli.py", "rayox/recipes/shapes.yaml", "rayox_platform/py.typed"} <= names
    assert not [name for name in names if "__pycache__" in name or ".git" in name]
    assert len(build_wheel()) < 2_000_000


def test_a_zip_depends_on_names_and_contents_alone():
    assert build_zip({"a": b"1", "b": b"2"}) == build_zip({"a": b"1", "b": b"2"})
    assert build_zip({"a": b"1"}) != build_zip({"a": b"2"})
