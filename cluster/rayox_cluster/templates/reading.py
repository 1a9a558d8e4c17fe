"""From key=value words to the values of a template."""

import dataclasses
import difflib
from collections.abc import Sequence

from rayox_cluster.templates.limits import faults
from rayox_cluster.templates.values import Values
from rayox_model.core.errors import ConfigError


def read_values(words: Sequence[str]) -> Values:
    """From key=value. Raises ConfigError with everything that is wrong with them."""
    fields = {field.name: field for field in dataclasses.fields(Values)}
    found: dict[str, object] = {}
    wrong = []
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            wrong.append(f"{word!r} is not key=value")
        elif key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            wrong.append(f"{key}: no such value" + (f"; did you mean {near[0]}?" if near else ""))
        elif fields[key].type in (int, int | None):
            if text.isascii() and text.isdigit() and len(text) <= 6:
                found[key] = int(text)
            else:
                wrong.append(f"{key}: {text!r} is not a whole number from 0 to 999999")
        elif not text.isprintable():
            wrong.append(f"{key}: {text!r} has a character that cannot be printed")
        else:
            found[key] = text
    values = dataclasses.replace(Values(), **found)  # type: ignore[arg-type]
    wrong += faults(values)
    if wrong:
        raise ConfigError("\n".join(wrong), f"these can be set: {', '.join(fields)}")
    return values
