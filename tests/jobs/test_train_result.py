"""What `rayox train` prints at its end: where the curves are, on a server or in a database of this machine."""

import pytest

from rayox.terminal.console import Console
from rayox.train import TrainResult, show_result

PAGE = "http://127.0.0.1:5000/#/experiments/1/runs/f00?workflowType=machine_learning"


def result(uri: str, page: str, best: str | None) -> TrainResult:
    return TrainResult(
        metrics={"AP": 0.25},
        run_id="f00",
        name="mine",
        checkpoint="runs/mine/checkpoints/step-00000006",
        best_metrics={"AP": 0.75},
        best_checkpoint=best,
        model="runs/mine/model.onnx",
        registered="models:/mine/1",
        pictures="runs/mine/predictions",
        images_per_second=20.0,
        data_wait_fraction=0.1,
        steps=6,
        skipped_steps=0,
        bad_images=(),
        seconds=1.0,
        start_seconds={"ray": 1.0},
        tracking_uri=uri,
        tracking_page=page,
    )


@pytest.mark.parametrize(
    ("uri", "page", "line"),
    [
        ("http://127.0.0.1:5000", PAGE, f"curves      {PAGE}"),
        ("sqlite:////a b/mlflow.db", "", "curves      mlflow ui --backend-store-uri 'sqlite:////a b/mlflow.db'"),
    ],
)
def test_the_page_of_a_server_or_the_command_for_a_database(capsys, uri, page, line):
    show_result(Console(), result(uri, page, None))
    said = capsys.readouterr().out.splitlines()
    assert [one for one in said if one.startswith("curves")] == [line]


def test_the_best_checkpoint_is_shown_beside_the_last(capsys):
    best = "runs/mine/checkpoints/step-00000004"
    show_result(Console(), result("sqlite:////mlflow.db", "", best))
    said = capsys.readouterr().out
    assert "best, registered" in said
    assert f"best AP     {best}" in said
    show_result(Console(), result("sqlite:////mlflow.db", "", "runs/mine/checkpoints/step-00000006"))
    assert "best" not in capsys.readouterr().out
