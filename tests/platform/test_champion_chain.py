"""Which version is champion is a pure function of the versions: exactly one of any simultaneous promotions wins."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from rayox_platform.models.chain import Link, head, live_versions


def test_each_names_the_one_before():
    assert live_versions([]) == ()
    assert head(()) == 0
    assert live_versions([Link(1, 0), Link(2, 1), Link(3, 2)]) == (1, 2, 3)


def test_of_simultaneous_promotions_the_lowest_number_wins():
    race = [Link(4, 3), Link(5, 3), Link(6, 3)]
    before = [Link(3, 0)]
    for order in itertools.permutations(race):
        assert live_versions([*order, *before]) == (3, 4)
    assert live_versions([*before, *race, Link(7, 4), Link(8, 5)]) == (3, 4, 7)


@given(st.lists(st.integers(0, 12), max_size=12))
def test_whatever_predecessors_are_named_the_champions_are_one_chain(predecessors):
    links = [Link(number, predecessor) for number, predecessor in enumerate(predecessors, 1)]
    live = live_versions(links)
    by_number = {link.version: link.predecessor for link in links}
    assert list(live) == sorted(live)
    assert [by_number[number] for number in live] == [0, *live[:-1]][: len(live)]
    for link in links:  # a version that names the champion of its moment is never left out
        before = [number for number in live if number < link.version]
        if link.predecessor == (before[-1] if before else 0):
            assert link.version in live
