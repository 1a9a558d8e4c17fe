"""A run's end in its storage: every machine says the same, and a driver that goes on takes it back."""

import json
from dataclasses import replace

import pytest

from rayox_model.core.errors import DataError
from rayox_platform.runs.ending import End, end_told, read_end, tell_interrupted
from rayox_platform.runs.event_kinds import Start
from rayox_platform.runs.home import FolderHome
from rayox_platform.runs.overview import read_run
from rayox_platform.runs.places import BucketRuns


@pytest.fixture(params=["folder", "bucket"])
def both(request, bucket, tmp_path):
    """The same run as its driver's machine sees it, and as another one does; one start of it is told."""
    if request.param == "folder":
        homes = FolderHome(tmp_path / "mine"), FolderHome(tmp_path / "mine")
    else:
        bucket = replace(bucket, prefix="bucket/runs")
        homes = tuple(BucketRuns(bucket, tmp_path / machine).home("mine") for machine in ("here", "elsewhere"))
    homes[0].folder.mkdir(parents=True, exist_ok=True)
    log = homes[0].events.log()
    log.write(Start(step=0, num_steps=40, epochs=4))
    log.flush()
    return homes


def states(both):
    return {(run.state, run.exit_code) for run in map(read_run, both)}


@pytest.mark.slow
def test_a_failure_is_told_with_its_reason_and_exit_code(both):
    with pytest.raises(DataError), end_told(both[0]):
        raise DataError("img7.png is not an image", "")
    assert states(both) == {("failed", 3)}
    assert {run.reason for run in map(read_run, both)} == {"img7.png is not an image"}


@pytest.mark.slow
def test_a_defect_is_a_failure_too(both):
    with pytest.raises(KeyError), end_told(both[0]):
        raise KeyError("nonsense")
    assert states(both) == {("failed", 1)}
    assert "internal error: KeyError" in read_run(both[1]).reason


@pytest.mark.slow
def test_a_stop_is_told_at_its_signal_while_the_rest_takes_its_time(both):
    with both[0].claim():
        with pytest.raises(KeyboardInterrupt), end_told(both[0]):  # noqa: PT012  # what is told meanwhile
            tell_interrupted(both[0])
            assert read_end(both[1]).status == "interrupted"
            raise KeyboardInterrupt
        assert states(both) == {("running", None)}
    assert states(both) == {("interrupted", 130)}


@pytest.mark.slow
def test_going_on_takes_the_end_back(both):
    tell_interrupted(both[0])
    with end_told(both[1]):
        assert read_end(both[0]) is None
    assert states(both) == {("dead", None)}, "it ended without a result and without a word"


@pytest.mark.slow
def test_a_finished_run_stays_finished(both):
    tell_interrupted(both[0])
    both[0].shared.write("result.json", json.dumps({"registered": ""}).encode() + b" ")
    assert states(both) == {("finished", None)}


def test_what_has_not_begun_has_no_end(tmp_path):
    home = FolderHome(tmp_path / "none")
    home.folder.mkdir()
    tell_interrupted(home)
    assert read_end(home) is None
    (home.folder / "end.json").write_text('{"status": "fai')
    assert read_end(home) is None, "half a file"


def test_an_end_reads_as_it_was_written(both):
    tell_interrupted(both[0])
    end = read_end(both[1])
    assert isinstance(end, End)
    assert (end.status, end.exit_code) == ("interrupted", 130)
    assert end.host in end.reason
