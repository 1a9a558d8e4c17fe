"""`rayox promote`: a model becomes the champion of a name if the gate lets it."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from rayox.config import load_recipe
from rayox.promotion_notice import Outcome, told_of_promotion
from rayox.terminal.console import Console, json_option, print_error
from rayox.terminal.progress import progress_of
from rayox_model.core.errors import ConfigError, GateError
from rayox_platform.config import LoadedConfig

if TYPE_CHECKING:
    from rayox_platform.promote.judge import Asked
    from rayox_platform.promote.promote import Promoted
    from rayox_platform.promote.verdict import Verdict

CAMPAIGN = "campaign:"


@click.command("promote")
@click.argument("model")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--to", "name", required=True, help="Registered model whose champion it becomes.")
@click.option("--gate", type=click.Path(path_type=Path), help="What it has to show; by default the packaged gate.yaml.")
@click.option("--dry-run", is_flag=True, help="Measure and decide, and change nothing.")
@click.option("--override", "checks", multiple=True, metavar="CHECK", help="Overrule a check that fails; needs --why.")
@click.option("--why", multiple=True, metavar="TEXT", help="Why, one for each --override; kept forever.")
@click.option("--reason", default="", help="What this promotion is for; kept with it.")
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Write the gate's page (HTML) here.")
@json_option
def command(
    model: str,
    overrides: tuple[str, ...],
    name: str,
    gate: Path | None,
    dry_run: bool,
    checks: tuple[str, ...],
    why: tuple[str, ...],
    reason: str,
    page: Path | None,
    as_json: bool,
) -> None:
    """Make a MODEL the champion of a registered name if the gate lets it; exit code 7 when it does not.

    MODEL may also be campaign:NAME, the confirmed winner of a campaign. It and the present champion are evaluated anew
    on the same images: those of the gate, of data.val, or those the candidate was evaluated on in training. The model
    is signed (promotion.key) and used as models:/NAME@champion.
    """
    console = Console(as_json)
    if len(checks) != len(why):
        raise ConfigError(f"--override: {len(checks)} checks and {len(why)} reasons", "give one --why TEXT for each")
    from rayox_platform.promote.gate_settings import read_gate
    from rayox_platform.promote.judge import Asked

    loaded = load_recipe(None, overrides)
    asked = Asked(model, name, read_gate(gate), reason, dict(zip(checks, why, strict=True)), dry_run)
    seen: list[Verdict] = []
    try:
        result = promote(loaded, console, asked, page, seen.append)
    except GateError as error:
        if not seen:
            raise
        _end_refused(console, error, seen[0])
    if result.version is None:
        console.text(f"{model} would be promoted to {name}; nothing was changed (--dry-run)")
    else:
        console.text(f"champion    {result.version.uri} (models:/{name}@champion)")
    console.result(
        result.verdict.as_json()
        | {"model": result.version.uri if result.version else None, "predecessor": result.predecessor}
    )


def promote(
    loaded: LoadedConfig,
    console: Console,
    asked: "Asked",
    page: Path | None = None,
    seen: "Callable[[Verdict], None]" = lambda verdict: None,
) -> "Promoted":
    """Measure, decide, sign and commit; `seen` gets the verdict. Raises GateError when the gate refuses."""
    from rayox_platform.models.open_model import bare_name
    from rayox_platform.promote.promote import promote as run
    from rayox_platform.storage.state import state_folder

    if page is not None and not page.absolute().parent.is_dir():
        raise ConfigError(f"--page: {page.parent}: no such folder", "make it, or name another file")

    def told(verdict: "Verdict", html: str) -> None:
        seen(verdict)
        if page is not None:
            _write(page, html)
        rows = [
            (_word(check.passed, check.name in verdict.overrides), check.name, check.text) for check in verdict.checks
        ]
        console.table(("", "check", "what it found"), rows)

    if asked.model.startswith(CAMPAIGN):
        asked = replace(asked, model=_winner(loaded.config.storage, asked.model.removeprefix(CAMPAIGN)))
        console.note(f"the campaign's winner is {asked.model}")
    said = bare_name(asked.model)
    notes = [said] if said else []
    with ExitStack() as stack:

        def stage(text: str) -> Callable[[int, int], None]:
            stack.close()
            while notes:  # the model is there: now it is worth saying
                console.note(notes.pop())
            return stack.enter_context(progress_of(text))

        def finished(verdict: "Verdict", html: str) -> None:
            stack.close()
            told(verdict, html)

        outcome = Outcome(asked.name, asked.model, "promoted", asked.reason, dict(asked.overrides or {}))
        with told_of_promotion(loaded.config, console, outcome):
            done = run(asked, loaded.config, state_folder(), finished, stage)
            outcome.model = done.version.uri if done.version else None
            outcome.predecessor = done.predecessor
            return done


def _write(page: Path, html: str) -> None:
    try:
        page.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--page: {page} cannot be written ({error.strerror})", "name another file") from error


def _winner(storage: str | None, name: str) -> str:
    """The last checkpoint of a campaign's confirmed winner. Raises ConfigError where there is none."""
    from rayox_platform.runs.places import open_runs
    from rayox_platform.storage.errors import storage_errors
    from rayox_platform.tune.campaign_home import find_campaign
    from rayox_platform.tune.ledger import read_state
    from rayox_platform.tune.winner import trained_whole, winning_trial

    with storage_errors(storage or "the state folder", "read"):
        state = read_state(find_campaign(storage, name).journal())
        trial = trained_whole(state, winning_trial(state))
        return str(open_runs(storage).home(trial.run).checkpoints.fetch(trial.checkpoint))


def _end_refused(console: Console, error: GateError, verdict: "Verdict") -> NoReturn:
    """The verdict and the error stand in one object."""
    print_error(error.message, error.hint)
    said = {"code": error.code, "message": error.message, "hint": error.hint}
    console.result(verdict.as_json() | {"model": None, "error": said})
    click.get_current_context().exit(error.exit_code)


def _word(passed: bool, overruled: bool) -> str:
    if passed:
        return "pass"
    return "overruled" if overruled else "FAIL"
