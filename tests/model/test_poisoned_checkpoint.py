"""A value that is not finite in weights, statistics or optimiser state: never a checkpoint, and the last one stays."""

import pytest
import torch
from make_checkpoint import save_checkpoint
from test_engine import CPU, facts, toy_batch, toy_settings, toy_state

from rayox_model.checkpoint.checkpoint_folder import newest_checkpoint
from rayox_model.checkpoint.snapshot import restore
from rayox_model.core.errors import TrainingError
from rayox_model.train.engine import train

pytestmark = pytest.mark.slow

HEAD = "head.cls_preds.0.weight"
NORM = "backbone.backbone.stem.conv.bn.running_var"


def parameter_state(state, name):
    return state.optimizer.state[state.model.get_parameter(name)]


PLACES = {
    f"weights {HEAD}": lambda state: state.model.get_parameter(HEAD),
    f"weights {NORM}": lambda state: state.model.get_buffer(NORM),
    f"averaged weights {HEAD}": lambda state: state.ema.module.get_parameter(HEAD),
    f"the optimiser's exp_avg_sq of {HEAD}": lambda state: parameter_state(state, HEAD)["exp_avg_sq"],
}


@pytest.fixture(scope="module")
def trained():
    settings = toy_settings(1)
    state = toy_state(settings)
    list(train(state, [toy_batch()], settings, CPU))
    return state


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", PLACES)
def test_it_is_not_written_and_the_one_before_is_kept(tmp_path, trained, place, value):
    good = save_checkpoint(tmp_path, trained, facts(1))
    tensor = PLACES[place](trained).detach()
    kept = tensor.clone()
    with torch.no_grad():
        tensor.view(-1)[1] = value
    try:
        with pytest.raises(TrainingError, match="the checkpoint of step 2 is not written") as caught:
            save_checkpoint(tmp_path, trained, facts(2))
    finally:
        tensor.copy_(kept)
    assert f"{place} holds values that are not finite (1 of {tensor.numel()})" in caught.value.message
    assert caught.value.exit_code == 8
    assert newest_checkpoint(tmp_path) == good
    assert [path.name for path in tmp_path.iterdir()] == [good.name]


def test_all_that_is_poisoned_is_counted(tmp_path, trained):
    state = toy_state(toy_settings(1))
    with torch.no_grad():
        for parameter in state.model.parameters():
            parameter.fill_(float("nan"))
    others = sum(1 for _ in state.model.parameters()) - 1
    with pytest.raises(TrainingError, match=rf"and {others} other tensors"):
        save_checkpoint(tmp_path, state, facts(0))


def test_a_run_of_another_precision_goes_on_in_fp16(tmp_path, trained):
    """As a run with train.precision=auto that moves from a CPU to a GPU: its checkpoint has no scale."""
    state = toy_state(toy_settings(2, "fp16"), seed=9)
    restore(save_checkpoint(tmp_path, trained, facts(1)), state)
    assert state.scaler.get_scale() == 2.0**16
