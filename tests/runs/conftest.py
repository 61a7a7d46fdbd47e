"""A place for what the tests of a file share."""

import signal

import pytest


@pytest.fixture
def handlers_are_put_back():
    # In the background of a script SIGINT is ignored, and would stay so.
    given = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    signal.signal(signal.SIGINT, given)
