"""A step that leaves weights that are not finite, though its loss was: the last of a run, which no other step sees."""

import pytest
from toy_runs import toy_config, train

from rayox_model.checkpoint.snapshot import read_facts
from rayox_model.core.errors import TrainingError
from rayox_platform.runs.places import open_runs

pytestmark = pytest.mark.ray


def test_a_run_ends_with_its_last_good_checkpoint(cluster, toy_data, tmp_path, monkeypatch):
    monkeypatch.setenv("RAYOX_STATE", str(tmp_path / "state"))
    one_step = {"epochs": 1, "batch_size": 20, "closing_epochs": 0, "warmup_epochs": 0, "workers": 1}
    config = toy_config(toy_data, tmp_path, "diverged", **one_step, optimizer="sgd", learning_rate=1e37)
    with pytest.raises(TrainingError, match=r"the checkpoint of step 1 is not written, .* diverged") as caught:
        train(config, lambda event: None)
    assert "weights " in caught.value.message
    assert "learning_rate" in caught.value.hint
    checkpoints = open_runs(str(tmp_path)).home("diverged").checkpoints
    newest = checkpoints.newest()
    assert newest is not None
    assert read_facts(checkpoints.fetch(newest)).step == 0
