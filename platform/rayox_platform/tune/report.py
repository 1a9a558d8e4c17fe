"""A campaign's report: pictures, and one HTML file that has them and the table inside it and asks for nothing else."""

import base64
import html
import io
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from matplotlib import pyplot as plt

from rayox_platform.tune.campaign_state import State
from rayox_platform.tune.costs import cost_in_words
from rayox_platform.tune.expected_gain import expected_gain
from rayox_platform.tune.figures import figures
from rayox_platform.tune.importance import why_not
from rayox_platform.tune.table import DEAD, cells, columns, rows, shown_state
from rayox_platform.tune.words import count

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; padding: 0 1em; color: #222; }}
h1 {{ font-size: 1.5em; }} .verdict {{ font-size: 1.1em; padding: .7em 1em; background: #f2f6fa; }}
table {{ border-collapse: collapse; font-size: 13px; }} th, td {{ padding: .2em .7em; text-align: right; }}
th {{ border-bottom: 1px solid #888; }} tr.best td {{ background: #e6f4ee; }} td.text, th.text {{ text-align: left; }}
img {{ max-width: 100%; }} .scroll {{ overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #fff; }} }}
</style></head><body>
<h1>{title}</h1>
<p>{about}</p>
<p class="verdict">{verdict}</p>
{remarks}
{pictures}
<h2>Trials</h2><div class="scroll">{table}</div>
</body></html>
"""


def write_report(state: State, folder: Path, status: str = "", holder: str | None = None) -> list[Path]:
    """report.html and the pictures as PNG files; the paths, the page first.

    status and holder are as `about` has them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _drawn(state)
    paths = [folder / "report.html"]
    paths[0].write_text(page(state, pictures, status, holder), encoding="utf-8")
    for name, content in pictures.items():
        paths.append(folder / f"{name}.png")
        paths[-1].write_bytes(content)
    return paths


def page(state: State, pictures: Mapping[str, bytes], status: str = "", holder: str | None = None) -> str:
    images = "\n".join(
        f'<p><img alt="{name}" src="data:image/png;base64,{base64.b64encode(content).decode()}"></p>'
        for name, content in pictures.items()
    )
    return PAGE.format(
        title=html.escape(f"Campaign {state.campaign.name}"),
        about=html.escape(about(state, status, holder)),
        verdict=html.escape(verdict(state)),
        remarks="\n".join(f"<p>{html.escape(text)}</p>" for text in _remarks(state)),
        pictures=images,
        table=_table(state, status),
    )


def about(state: State, status: str = "", holder: str | None = None) -> str:
    """What the campaign is and where it stands, in a sentence.

    status is what it is doing, where more is known of that than the ledger has (running, dead); holder is the process
    that drives it.
    """
    campaign = state.campaign
    counts: dict[str, int] = {}
    for trial in state.search:
        shown = shown_state(trial, status)
        counts[shown] = counts.get(shown, 0) + 1
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    return (
        f"{campaign.search.kind} with {campaign.schedule.kind} on {campaign.recipe}: "
        f"{count(len(state.search), 'trial')} ({told or 'none yet'}), {count(state.epochs_trained, 'epoch')} in "
        f"{state.driven_seconds / 3600:.2f} hours; "
        f"{_doing(state, status, holder)}; as of {time.strftime('%Y-%m-%d %H:%M', time.localtime(state.last))}."
    )


def _doing(state: State, status: str, holder: str | None) -> str:
    if status == DEAD:
        return "dead (its driver is gone and has not said why; --resume goes on)"
    if status == "running" or not state.ended:
        return f"running by {holder}" if holder else "running"
    return f"{state.ended.status} ({state.ended.why})"


def _remarks(state: State) -> Iterator[str]:
    """What trials have cost, and what is not shown, and why."""
    cost = cost_in_words(state)
    if cost:
        yield cost
    if state.best:
        yield from why_not(state)


def verdict(state: State) -> str:
    """What the campaign has found, in words; before the confirmation who leads, and what is left to gain."""
    if state.confirmed:
        sentence = str(state.confirmed["sentence"])
        return sentence[0].upper() + sentence[1:] + "."
    best, metric = state.best, state.campaign.first_metric
    if best is None:
        failed = state.search and all(trial.state == "failed" for trial in state.search)
        return f"No trial has been measured: {_all_failed(state)}." if failed else "No trial has been measured yet."
    value, expected = state.sign * state.score(best), expected_gain(state)
    more = f" All further trials together are expected to add {expected.gain:.4f} to that." if expected else ""
    leads = f"leads with {metric} {value:.4f} after {count(best.epoch, 'epoch')}"
    if best is state.search[0]:
        return f"The base recipe (trial 0) {leads}: no trial that was trained as long is better.{more}"
    return (
        f"Trial {best.number} {leads}. Whether it is better than the base recipe or only luckier has not been "
        f"confirmed.{more}"
    )


def _all_failed(state: State) -> str:
    first = state.search[0]
    why = " ".join(first.why.split())[:200]
    return f"the only one has failed ({why})" if len(state.search) == 1 else f"all have failed, the first: {why}"


def _drawn(state: State) -> dict[str, bytes]:
    found = {}
    for name, figure in figures(state).items():
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=110)
        plt.close(figure)
        found[name] = content.getvalue()
    return found


def _table(state: State, status: str) -> str:
    names = ["trial", "state", "epoch", state.campaign.first_metric, *columns(state), "remark"]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    best = state.best
    lines = []
    for one in rows(state, status):
        values = [_cell(value) for value in cells(state, one)]
        kind = ' class="best"' if best and one.trial == best.number else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{html.escape(value)}</td>" for value in values) + "</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
