"""SIGTERM and Ctrl-C of a real campaign: it ends as an interrupted one, leaves nothing, and --resume goes on."""

import json
import os
import signal
import subprocess

import pytest
from campaign_runs import CampaignRun, assert_each_once
from patience import patient, wait_until
from sessions import processes_of, wait_until_gone

from rayox_platform.runs.event_kinds import Start
from rayox_platform.runs.events import read_events

pytestmark = [pytest.mark.ray, pytest.mark.faults, pytest.mark.timeout(1800)]
SECONDS = 40.0  # generous: most of them are a busy machine's
CAMPAIGN = {"budget": {"trials": 3}, "confirm": {"top": 0}, "schedule": "none"}


def stopped(run: CampaignRun, process: "subprocess.Popen[str]", number: int) -> None:
    """Send the signal as a terminal or a scheduler does; it ends as it should, with no process left."""
    below = processes_of(process.pid)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    output, _ = process.communicate(timeout=patient(SECONDS))
    assert process.returncode == 130, run.log()
    assert json.loads(output.splitlines()[-1])["error"]["code"] == "interrupted"
    assert "Traceback" not in run.log()
    assert "the same command with --resume resumes mine" in run.log()
    wait_until_gone(below)
    ended = run.state().ended
    assert ended is not None
    assert (ended.status, ended.why) == ("interrupted", "interrupted")


def test_each_signal_ends_it_and_it_goes_on(toy_data, tmp_path):
    run = CampaignRun(tmp_path, toy_data, CAMPAIGN, epochs=4)
    arguments = ["mine.yaml"]
    for trial, number in enumerate((signal.SIGTERM, signal.SIGINT)):
        process = run.start(*arguments, "--json")
        try:
            wait_until(lambda of=process, trial=trial: trains(run, trial) or of.poll() is not None, 400, run.log())
            stopped(run, process, number)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        arguments = ["mine.yaml", "--resume"]
    assert run.run("status", "mine")["status"] == "interrupted"
    assert run.run(*arguments)["status"] == "finished"
    assert_each_once(run, trials=3)
    assert {trial.state for trial in run.state().trials} == {"finished"}


def trains(run: CampaignRun, number: int) -> bool:
    """Whether the process of a trial has begun to train it."""
    trials = run.state().trials
    if len(trials) <= number or trials[number].state != "running":
        return False
    events = read_events(run.folder / "state" / "runs" / trials[number].run)
    return any(isinstance(event, Start) for event in events)
