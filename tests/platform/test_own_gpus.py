"""GPUs of this machine as files of its driver, and what CUDA_VISIBLE_DEVICES leaves of them."""

import pytest

from rayox_platform.resources.own_gpus import own_gpus


@pytest.mark.parametrize(
    ("visible", "count"), [(None, 2), ("0", 1), ("0,1", 2), ("1,0,3", 2), ("", 0), ("-1", 0), ("0,-1,1", 1)]
)
def test_gpus_are_counted_as_cuda_shows_them(tmp_path, monkeypatch, visible, count):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert own_gpus(tmp_path) == count


def test_a_machine_without_a_driver_has_none(tmp_path):
    assert own_gpus(tmp_path) == 0
