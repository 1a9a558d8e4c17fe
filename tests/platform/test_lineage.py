"""What a run says of its surroundings, also of damaged ones."""

from rayox_platform.track.lineage import lineage_tags


def test_a_half_removed_package_changes_nothing(tmp_path, monkeypatch):
    before = lineage_tags(("cell",))
    (tmp_path / "ghost-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert lineage_tags(("cell",)) == before
