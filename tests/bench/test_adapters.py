"""The registry of peers."""

import sys

import pytest

from ditbench.bench.adapters import PEERS, load_peer
from ditbench.bench.diffusers_peer import COMPILED, EAGER
from ditbench.errors import DitbenchError


def test_peers_are_known_by_name(monkeypatch):
    assert list(PEERS) == ["diffusers", "diffusers-compiled"]
    assert load_peer("diffusers") is EAGER
    assert load_peer("diffusers-compiled") is COMPILED
    with pytest.raises(DitbenchError, match="unknown peer 'difusers'"):
        load_peer("difusers")
    monkeypatch.delitem(sys.modules, "ditbench.bench.diffusers_peer")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(DitbenchError, match="needs the package diffusers") as raised:
        load_peer("diffusers")
    assert raised.value.hint == "pip install diffusers"
