"""The gate's verdict as one HTML page that needs nothing beside it."""

from html import escape

from rayox_platform.data.images import CocoImages
from rayox_platform.promote.checks import Check, Evidence
from rayox_platform.promote.differences import Pair, most_different
from rayox_platform.promote.verdict import Verdict

MOST_CLASSES = 12  # shown at once: those that lose most
STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #0a7d4b; --bad: #c2350c; --meh: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --good: #3ecf8e; --bad: #ff8a65; --meh: #e3b341; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .5rem 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
.numbers { max-width: 44rem; }
summary { cursor: pointer; padding: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); }
.checks td { overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.word { font-weight: 600; white-space: nowrap; }
.pass { color: var(--good); } .fail { color: var(--bad); } .overruled { color: var(--meh); }
.small { font-size: .875rem; opacity: .8; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; margin: 0 0 1.5rem; }
.pair p { grid-column: 1 / -1; margin: 0; }
figure { margin: 0; } figure img { width: 100%; height: auto; display: block; border-radius: 4px; }
@media (max-width: 600px) {
  .numbers { font-size: .8125rem; }
  .numbers th, .numbers td { padding: .3rem .4rem .3rem 0; }
  .pair { grid-template-columns: 1fr; }
  .checks td { display: block; border: 0; padding: 0; }
  .checks td:first-child, .checks td:nth-child(2) { display: inline-block; padding-right: .6rem; }
  .checks tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--line); }
}
"""


def gate_page(name: str, champion: int, found: Evidence, verdict: Verdict, images: CocoImages) -> str:
    """Verdict, checks with their numbers, metrics of both, thresholds, and the images where both differ most."""
    word = "passed" if verdict.passed else "refused"
    against = f"version {champion}, the champion" if champion else "no champion"
    parts = [
        f"<h1>{escape(found.candidate.model)} → {escape(name)}: "
        f'<span class="{"pass" if verdict.passed else "fail"}">{word}</span></h1>',
        f"<p>Measured against {against}, on {len(found.dataset)} images with {len(found.dataset.labels)} boxes "
        f"({escape(found.dataset.source)}).</p>",
        f'<table class="checks">{"".join(_check_row(check, verdict) for check in verdict.checks)}</table>',
        "<h2>Metrics</h2>",
        _metrics(found),
        _pairs(found, images),
        "<h2>AP of each class</h2>",
        _classes(found),
        f'<p class="small">SHA-256 of the candidate: {found.measured.sha256}</p>',
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(name)}: {word}</title>\n<style>{STYLE}</style>\n" + "\n".join(parts) + "\n</html>\n"
    )


def _check_row(check: Check, verdict: Verdict) -> str:
    word = "pass" if check.passed else "overruled" if check.name in verdict.overrides else "fail"
    why = verdict.overrides.get(check.name)
    text = escape(check.text) + (f"<br><b>Overruled: {escape(why)}</b>" if why and not check.passed else "")
    return f'<tr><td class="word {word}">{word}</td><td class="word">{check.name}</td><td>{text}</td></tr>\n'


def _metrics(found: Evidence) -> str:
    before = found.champion.metrics if found.champion else {}
    return _table(("metric", "candidate", "champion", "change"), dict(found.measured.metrics), dict(before))


def _classes(found: Evidence) -> str:
    before = found.champion.class_ap if found.champion else {}
    points = found.operating.classes
    after = found.measured.class_ap
    order = sorted(after, key=lambda name: after[name] - before.get(name, after[name]))
    first, others = ({name: after[name] for name in part} for part in (order[:MOST_CLASSES], order[MOST_CLASSES:]))
    thresholds = {name: f"{points[name].threshold:.2f}" for name in points}
    note = (
        f'<p class="small">Threshold: from which score on a detection is shown by default, chosen by '
        f"{escape(found.operating.rule)}; a class without one has {found.operating.overall.threshold:.2f}.</p>"
    )
    columns = ("class", "candidate", "champion", "change", "threshold")
    table = _table(columns, first, dict(before), thresholds)
    if others:
        rest = _table(columns, others, dict(before), thresholds)
        table += f"<details><summary>{len(others)} more classes</summary>{rest}</details>"
    return table + note


def _table(
    columns: tuple[str, ...], after: dict[str, float], before: dict[str, float], last: dict[str, str] | None = None
) -> str:
    head = f"<th>{columns[0]}</th>" + "".join(f'<th class="number">{column}</th>' for column in columns[1:])
    rows = []
    for name, value in after.items():
        old = before.get(name)
        cells = [f"{value:.3f}", "–" if old is None else f"{old:.3f}", "–" if old is None else _signed(value - old)]
        cells += [last.get(name, "–")] if last is not None else []
        rows.append(f"<tr><td>{escape(name)}</td>" + "".join(f'<td class="number">{c}</td>' for c in cells) + "</tr>\n")
    return f'<table class="numbers"><tr>{head}</tr>\n{"".join(rows)}</table>'


def _signed(change: float) -> str:
    return "0.000" if abs(change) < 0.0005 else f"{change:+.3f}".replace("-", "−")


def _pairs(found: Evidence, images: CocoImages) -> str:
    if found.champion is None:
        return ""
    threshold = found.operating.overall.threshold
    pairs = most_different(images, found.champion.detections, found.measured.detections, threshold)
    if not pairs:
        return "<h2>Images</h2><p>Both models make as many errors in every image.</p>"
    shown = "\n".join(_pair(pair) for pair in pairs)
    return (
        f"<h2>Where both differ most</h2><p>Boxes from a score of {threshold:.2f} on. An error is an object that was "
        f"missed or a box on nothing.</p>\n{shown}"
    )


def _pair(pair: Pair) -> str:
    return (
        f'<div class="pair"><p class="small">{escape(pair.where)}</p>'
        f'<figure><img alt="champion" src="{pair.champion}">'
        f'<figcaption class="small">champion: {_errors(pair.champion_errors)}</figcaption></figure>'
        f'<figure><img alt="candidate" src="{pair.candidate}">'
        f'<figcaption class="small">candidate: {_errors(pair.candidate_errors)}</figcaption></figure></div>'
    )


def _errors(count: int) -> str:
    return "1 error" if count == 1 else f"{count} errors"
