"""A place for what the tests of a file share."""

import pytest


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where a run is that is trained once."""
    return tmp_path_factory.mktemp("made")
