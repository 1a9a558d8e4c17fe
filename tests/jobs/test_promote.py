"""`rayox promote`, `rollback` and `models history|verify|reconcile|diff` through the real command line."""

import pytest
from promotions import Registry, make_registry


@pytest.fixture
def registry(rayox, tmp_path, toy_onnx, toy_data, monkeypatch) -> Registry:
    made = make_registry(tmp_path, toy_onnx, toy_data)
    monkeypatch.setenv("RAYOX_STATE", str(made.state))
    return made


def test_from_two_runs_to_a_champion_and_back(rayox, registry, toy_onnx, toy_data):
    first = rayox("promote", "models:/shapes/1", "--to", "shop", "--gate", registry.gate, "--json")
    assert first.exit_code == 0, first.err
    assert first.result["model"] == "models:/shop/1"
    assert [check["name"] for check in first.result["checks"]][:2] == ["floors", "change"]
    second = rayox("promote", f"runs:/{registry.versions[1].run_id}", "--to", "shop", "--gate", registry.gate, "--json")
    assert second.exit_code == 0, second.err
    assert (second.result["model"], second.result["predecessor"]) == ("models:/shop/2", 1)
    used = rayox("predict", "models:/shop@champion", toy_data / "images", "-o", "found", "--json")
    assert used.exit_code == 0, used.err
    back = rayox("rollback", "shop", "--reason", "too many false alarms", "--json")
    assert back.exit_code == 0, back.err
    assert (back.result["model"], back.result["restores"]) == ("models:/shop/3", 1)
    listed = rayox("models", "history", "shop", "--json").result["history"]
    assert [(one["version"], one["state"], one["action"]) for one in listed] == [
        (3, "champion", "rollback"),
        (2, "was champion", "promote"),
        (1, "was champion", "promote"),
    ]
    assert rayox("models", "verify", "shop").exit_code == 0
    assert rayox("models", "reconcile", "shop").out == "everything is as it was signed\n"
    diff = rayox("models", "diff", "shop/1", "shop/2", "--json").result["differences"]
    assert {"what": "run", "first": "a-run", "second": "b-run"} in diff
    measured = rayox("evaluate", "models:/shop@champion", *registry.data, "--json")
    assert measured.result["metrics"] == rayox("evaluate", toy_onnx, *registry.data, "--json").result["metrics"]
