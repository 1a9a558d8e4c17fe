"""The numbers of a stream's blocks, cut into the chapters that are read one after the other."""

import pytest

from rayox_platform.stream.block_ids import FIRST_CHAPTER, LONGEST_CHAPTER, chapters_of


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 96, 97, 2048, 4064, 4065, 1_972_000])
def test_chapters_are_all_numbers_in_order(count):
    chapters = chapters_of(count)
    assert [chapter.start for chapter in chapters] == [0, *(chapter.stop for chapter in chapters[:-1])]
    assert chapters[-1].stop == count
    assert all(chapters) or count == 0
    assert max(map(len, chapters)) <= LONGEST_CHAPTER


def test_the_first_is_short_and_a_long_run_has_few():
    chapters = chapters_of(1_972_000)
    assert [len(chapter) for chapter in chapters[:8]] == [32, 64, 128, 256, 512, 1024, 2048, 2048]
    assert len(chapters) < 1000
    assert len(chapters_of(1_000_000)[0]) == FIRST_CHAPTER
