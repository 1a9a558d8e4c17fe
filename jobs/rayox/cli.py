"""The command line: one module per verb, imported when its verb is called, and errors turned into exit codes.

A verb's module has a click command named `command`. Help lists the summaries below and imports nothing.
"""

import difflib
import importlib
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from rayox.process.environment import set_environment
from rayox.process.hidden_arguments import hide_credentials
from rayox.process.interrupts import interrupts_kept
from rayox.process.surroundings import make_usable
from rayox.process.system_errors import explained_refusal
from rayox.terminal.console import print_error, print_json
from rayox_model.core.errors import RayoxError
from rayox_model.core.secrets import without_secrets
from rayox_platform.track.quiet import quiet_mlflow

VERBS = {
    "demo": "Train and evaluate on the embedded data set, in minutes.",
    "train": "Train a detector by a recipe.",
    "tune": "Search settings by many trainings.",
    "evaluate": "Measure a model's COCO metrics on a data set.",
    "predict": "Find objects in images.",
    "runs": "List, show, watch and stop runs, and send them on to MLflow.",
    "promote": "Make a model the champion of a name if the gate lets it.",
    "rollback": "Put an earlier champion back.",
    "models": "List, show, verify and compare registered models.",
    "data": "Check, convert, measure and shard data sets.",
    "submit": "Run a verb as a job on a Ray cluster.",
    "doctor": "Look at a cluster node by node, as a job would find it.",
    "drill": "Kill parts of a run on a cluster, and say what that cost.",
    "plan": "Say what a training would take on more workers.",
    "cluster": "Start, look at and end a cluster on this machine.",
    "gc": "List or remove what nothing refers to in old runs.",
    "config": "Show, check and explain settings.",
}
INTERRUPTED = 130
BROKEN_PIPE = 141  # as the shell has it for SIGPIPE


class Verbs(click.Group):
    """The verbs by name, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            near = difflib.get_close_matches(cmd_name, VERBS, n=1)
            raise click.UsageError(f"no such verb: {cmd_name}" + (f"; did you mean {near[0]}?" if near else ""), ctx)
        command = importlib.import_module(f"rayox.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rayox", message="%(prog)s %(version)s")
def cli() -> None:
    """Train, tune and promote YOLOX object detectors on a Ray cluster.

    Exit codes: 0 done, 1 internal error, 2 usage or settings, 3 data, 4 model or checkpoint, 5 export, 6 cluster,
    7 gate refused, 8 training failed, 9 tracking unreachable, 130 interrupted (resumable).
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    hide_credentials(arguments)
    set_environment()
    quiet_mlflow()
    try:
        make_usable()
        with interrupts_kept(), cli.make_context("rayox", list(arguments)) as context:
            cli.invoke(context)
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except RayoxError as error:
        return _fail(error.code, error.message, error.hint, error.exit_code, as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _fail("usage", _usage_message(error), _usage_hint(error), 2, as_json)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", "interrupted", "", INTERRUPTED, as_json)
    except BrokenPipeError:
        return _broken_pipe()
    except OSError as error:
        refusal = explained_refusal(error, arguments)
        if refusal is not None:
            return _fail(refusal.code, refusal.message, refusal.hint, refusal.exit_code, as_json)
        return _fail("internal", _one_line(error), _keep_traceback(error), 1, as_json)
    except Exception as error:  # noqa: BLE001 - the outermost border: whatever gets here is a defect, and is reported
        return _fail("internal", _one_line(error), _keep_traceback(error), 1, as_json)


def _fail(code: str, message: str, hint: str, exit_code: int, as_json: bool) -> int:
    message, hint = without_secrets(message), without_secrets(hint)
    try:
        print_error(message, hint)
        if as_json:
            print_json({"error": {"code": code, "message": message, "hint": hint}})
    except BrokenPipeError:
        return _broken_pipe()
    return exit_code


def _broken_pipe() -> int:
    """Nobody reads any more; keep Python's last flush from complaining about it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _usage_message(error: click.ClickException) -> str:
    """Click names options that look alike; the one that begins as given is nearer: --score of --score-threshold."""
    if isinstance(error, click.NoSuchOption) and error.ctx:
        names = [name for parameter in error.ctx.command.params for name in parameter.opts]
        longer = [repr(name) for name in names if name.startswith(error.option_name)]
        if longer:
            return f"{error.message} Did you mean {' or '.join(longer)}?"
    return error.format_message()


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"`{context.command_path if context else 'rayox'} --help` lists what there is"


def _one_line(error: Exception) -> str:
    text = without_secrets(" ".join(str(error).split()))
    return f"internal error: {type(error).__name__}" + (f": {text[:200]}" if text else "")


def _keep_traceback(error: Exception) -> str:
    """Print the traceback when RAYOX_DEBUG asks for it, else write it to a file; the hint that says where."""
    text = without_secrets("".join(traceback.format_exception(error)))
    if os.environ.get("RAYOX_DEBUG", "") not in ("", "0"):
        print(text, file=sys.stderr, end="")
        return ""
    name = f"rayox-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    path = Path(tempfile.gettempdir()) / name
    try:
        path.write_text(text, encoding="utf-8")
    except OSError:
        return "RAYOX_DEBUG=1 prints the traceback"
    return f"this is a defect of rayox; the traceback is in {path} (RAYOX_DEBUG=1 prints it)"
