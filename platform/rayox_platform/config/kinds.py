"""Sections that are one of several kinds, as the assigner: what was set of another kind is left out or wrong."""

from rayox_platform.config.origin import Finding, Layer, Origin, Rank, Value
from rayox_platform.config.settings import KIND, Settings, kind_key


def of_chosen_kinds(values: Layer, table: Settings) -> tuple[Layer, list[Finding]]:
    """The values that go with the kinds chosen, each with its kind; and what somebody set that does not go with it.

    A recipe's settings of another kind make way for a kind that is chosen over it, as on the command line.
    """
    kept, findings = dict(values), []
    for key, value in values.items():
        choice = kind_key(key, table)
        if choice is None:
            continue
        chosen = values.get(choice, Value(table[choice].default, Origin(Rank.DEFAULT)))
        if chosen.value in table[key].kinds:
            continue
        del kept[key]
        if value.origin.rank >= chosen.origin.rank:
            of = " and ".join(table[key].kinds)
            message = f"is a setting of {choice} {of}, and {choice} is {chosen.value}"
            findings.append(Finding(value.origin, key, message))
    for key in [name for name, setting in table.items() if name.endswith(f".{KIND}") and "enum" in setting.schema]:
        section = key.removesuffix(KIND)
        if key not in kept and any(name.startswith(section) for name in kept):
            kept[key] = Value(table[key].default, Origin(Rank.DEFAULT))
    return kept, findings
