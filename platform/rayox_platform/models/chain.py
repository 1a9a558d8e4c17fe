"""Which version of a registered model is the champion: told from the versions alone, by replaying them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A version that a promotion, a rollback or a repair has made."""

    version: int
    predecessor: int  # the version that was live when it was made; 0 for none


def live_versions(links: Iterable[Link]) -> tuple[int, ...]:
    """Versions that were ever champion, the present one last: each names the one before it as its predecessor.

    Of simultaneous promotions all name the same predecessor, so the lowest number wins and the others never count.
    """
    live: list[int] = []
    for link in sorted(links, key=lambda link: link.version):
        if link.predecessor == (live[-1] if live else 0):
            live.append(link.version)
    return tuple(live)


def head(live: Sequence[int]) -> int:
    """The champion among live versions; 0 for none."""
    return live[-1] if live else 0
