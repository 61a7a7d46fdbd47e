"""A model of whose weights files are made."""

import pytest
from dits import random_dit


@pytest.fixture(scope="session")
def dit():
    return random_dit()
