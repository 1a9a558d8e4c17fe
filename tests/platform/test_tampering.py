"""A champion of which anything was changed is refused by name, never loaded."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from promotion_drafts import publish_draft
from promotions import Registry, make_registry, promote_now

from rayox_model.core.errors import ConfigError, ModelError
from rayox_platform.config.tree import Config, Promotion
from rayox_platform.models.bundle import SIGNATURE
from rayox_platform.models.champion import ALIAS, fetch_champion
from rayox_platform.models.signature import trusted, verify_signature
from rayox_platform.promote.reconcile import reconcile, verify
from rayox_platform.track.registry import find_version
from rayox_platform.track.tracking import Store, connect

NAME = "shop"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory, toy_onnx, toy_data) -> Registry:
    """The champion of shop is version 2, after version 1."""
    made = make_registry(tmp_path_factory.mktemp("tampered"), toy_onnx, toy_data)
    for model in ("models:/shapes/1", "models:/shapes/2"):
        promote_now(made, model, NAME)
    return made


@pytest.fixture
def store(registry) -> Store:
    return connect(None, registry.state, None)


def champion_folder(store: Store, number: str = "2") -> Path:
    one = find_version(store, NAME, number)
    return Path(store.client.get_logged_model(one.model_id).artifact_location.removeprefix("file://"))


def load(registry: Registry) -> bytes:
    """As a machine without a cache does."""
    shutil.rmtree(registry.state / "cache" / "champions", ignore_errors=True)
    return fetch_champion(NAME, None, registry.state, Promotion()).read_bytes()


def flips(path: Path, share: int) -> list[tuple[int, int]]:
    """(position, bit) of so many bytes of a file."""
    size = path.stat().st_size
    rng = random.Random(path.name)
    chosen = sorted(rng.sample(range(size), min(share, size)))
    return [(at, 1 << rng.randrange(8)) for at in chosen]


def refused(registry: Registry, path: Path, flip: tuple[int, int]) -> str:
    """The message that a byte changed in a file of the champion leads to; the byte is put back."""
    at, bit = flip
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))
    try:
        with pytest.raises(ModelError) as raised:
            load(registry)
    finally:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([byte]))
    assert "the last good one is models:/shop/1" in raised.value.hint, (path, at)
    return raised.value.message


def test_a_changed_byte_of_any_file_is_refused_and_the_last_good_version_named(registry, store):
    expected = load(registry)
    folder = champion_folder(store)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert {"MLmodel", "model.onnx", "verdict.json", "gate.html", "promotion.json", "model.sig"} <= {
        path.name for path in files
    }
    for path in files:
        for flip in flips(path, 1):
            assert "models:/shop/2" in refused(registry, path, flip)
    assert load(registry) == expected


def test_the_signature_holds_or_not_by_itself(registry, store, tmp_path):
    """Also where the digest in the tag was changed along with the file."""
    folder = shutil.copytree(champion_folder(store), tmp_path / "model")
    trust = trusted(Promotion(), None, registry.state)
    verify_signature(folder, trust, "it")
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / SIGNATURE:
            content = path.read_bytes()
            path.write_bytes(content + b" ")
            with pytest.raises(ModelError, match="signature does not hold"):
                verify_signature(folder, trust, "it")
            path.write_bytes(content)
    (folder / "more.txt").write_text("more")
    with pytest.raises(ModelError, match=r"more\.txt"):
        verify_signature(folder, trust, "it")


@pytest.mark.parametrize("key", ["rayox.predecessor", "rayox.artifact", "rayox.model_id", "rayox.overrides"])
def test_tags_of_the_champion_are_vouched_for(registry, store, key):
    changed_tag(registry, store, key)


@pytest.mark.faults
def test_every_tag_of_the_champion_is_vouched_for(registry, store):
    ours = [key for key in find_version(store, NAME, "2").tags if not key.startswith("mlflow.")]
    assert len(ours) > 10
    for key in ours:
        changed_tag(registry, store, key)


def changed_tag(registry: Registry, store: Store, key: str) -> None:
    """It is refused by name, verify finds it, and reconcile puts it right."""
    one = find_version(store, NAME, "2")
    store.client.set_model_version_tag(NAME, "2", key, one.tags[key] + "0")
    with pytest.raises(ModelError, match=key.replace(".", r"\.") if key != "rayox.artifact" else "artifact|files"):
        load(registry)
    assert not verify(NAME, Config(), registry.state).good
    done = reconcile(NAME, Config(), registry.state)
    assert any(key in line for line in done), (key, done)
    assert load(registry)


def test_an_alias_that_was_moved_or_removed_is_refused_and_put_back(registry, store):
    for move in (
        lambda: store.client.set_registered_model_alias(NAME, ALIAS, "1"),
        lambda: store.client.delete_registered_model_alias(NAME, ALIAS),
    ):
        move()
        with pytest.raises(ModelError, match=r"the alias champion .* but the champion is version 2"):
            load(registry)
        assert not verify(NAME, Config(), registry.state).good
        assert "the alias champion points to version 2 again" in reconcile(NAME, Config(), registry.state)[0]
        assert load(registry)


def test_another_key_signs_for_nobody(registry, tmp_path):
    for name in ("ours", "theirs"):
        key = tmp_path / f"{name}.pem"
        subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key], check=True)
        with (tmp_path / f"{name}.pub").open("wb") as public:
            subprocess.run(["openssl", "ec", "-in", key, "-pubout"], stdout=public, check=True, capture_output=False)
    with pytest.raises(ModelError, match=r"not the files|does not hold"):
        fetch_champion(NAME, None, registry.state, Promotion(trusted_keys=(str(tmp_path / "theirs.pub"),)))
    config = Config(promotion=Promotion(key=str(tmp_path / "ours.pem"), trusted_keys=(str(tmp_path / "theirs.pub"),)))
    with pytest.raises(ConfigError, match=r"is not vouched for by promotion\.trusted_keys"):
        promote_now(registry, "models:/shapes/1", "another", config)


def test_a_champion_of_which_nothing_is_left_can_be_promoted_over(registry, store):
    publish_draft("broken", 0, registry.onnx, registry.state)
    one = find_version(store, "broken", "1")
    folder = Path(store.client.get_logged_model(one.model_id).artifact_location.removeprefix("file://"))
    (folder / "artifacts" / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="its files are not those that were promoted") as raised:
        promote_now(registry, "models:/shapes/2", "broken")
    assert "no earlier champion of broken verifies either" in raised.value.hint
    assert "--override champion" in raised.value.hint
    done = promote_now(registry, "models:/shapes/2", "broken", overrides={"champion": "its disk is lost"})
    assert (done.version.version, done.predecessor) == (2, 1)
    assert fetch_champion("broken", None, registry.state, Promotion()).is_file()


@pytest.mark.faults
def test_many_bytes_of_every_file(registry, store):
    folder = champion_folder(store)
    for path in [path for path in sorted(folder.rglob("*")) if path.is_file()]:
        for flip in flips(path, 40):
            refused(registry, path, flip)
