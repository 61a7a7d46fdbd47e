"""The registry of peers."""

import importlib.util

import pytest

from ditbench.bench.adapters import PEERS, load_peer
from ditbench.errors import DitbenchError


def test_peers_are_known_by_name(monkeypatch):
    assert list(PEERS) == ["diffusers", "diffusers-compiled"]
    assert load_peer("diffusers").compiled is False
    assert load_peer("diffusers-compiled").compiled is True
    with pytest.raises(DitbenchError, match="unknown peer 'difusers'"):
        load_peer("difusers")
    monkeypatch.setattr("ditbench.bench.adapters.find_spec", lambda _name: None)
    with pytest.raises(DitbenchError, match="needs the package diffusers") as raised:
        load_peer("diffusers")
    assert raised.value.hint == "pip install diffusers"
    assert importlib.util.find_spec("diffusers")
