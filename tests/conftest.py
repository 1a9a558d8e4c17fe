"""Shapes in signatures are checked in every test; shared data sets are read where they are at hand."""

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("rayox_model", "beartype.beartype")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it say so when they skip."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared/data (real images, official weights and oracles) beside the checkout")
    return SHARED
