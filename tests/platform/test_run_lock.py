"""One process at a time in a run's folder; what it does not use it takes away again."""

import subprocess
import sys
from pathlib import Path

import pytest

from rayox_model.core.errors import ConfigError
from rayox_platform.runs.run_lock import claimed

HOLD = """
import sys
from pathlib import Path
from rayox_platform.runs.run_lock import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_who_has_it_and_a_killed_one_frees_it(tmp_path):
    folder = tmp_path / "run"
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=f"run run is being trained by process {first.pid} on "), claimed(folder):
        pass
    first.kill()
    first.communicate()
    with claimed(folder):
        assert folder.is_dir()


def test_a_folder_left_without_a_checkpoint_goes_and_one_with_it_stays(tmp_path):
    with claimed(tmp_path / "nothing"):
        pass
    assert not (tmp_path / "nothing").exists()
    with claimed(tmp_path / "some"):
        (tmp_path / "some" / "checkpoints" / "step-00000000").mkdir(parents=True)
    assert (tmp_path / "some").exists()


def test_a_folder_that_was_there_before_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with claimed(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine" / "notes.txt").exists()


def test_storage_that_cannot_be_written_is_a_setting_to_change(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"storage: .*file/run cannot be written"), claimed(tmp_path / "file" / "run"):
        pass
    with pytest.raises(ConfigError, match="cannot be written"), claimed(Path("/proc/rayox/run")):
        pass
