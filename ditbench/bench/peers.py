"""Others' models to measure beside ours, by name. A peer is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from ditbench.errors import DitbenchError, unknown_name

if TYPE_CHECKING:
    from ditbench.bench.candidate import Maker


class _Peer(NamedTuple):
    package: str
    location: str


_PEERS: dict[str, _Peer] = {}


def register(name: str, package: str, location: str) -> None:
    """Make the `Maker` at `module:object`, which needs a package, known as a peer.

    Raises:
        ValueError: when the name is taken.
    """
    if name in _PEERS:
        raise ValueError(f"the peer name '{name}' is taken by {_PEERS[name].location}")
    _PEERS[name] = _Peer(package, location)


def peer_names() -> list[str]:
    """The known peers."""
    return list(_PEERS)


def check_peer(name: str) -> str:
    """The name itself, if it is known and what it needs is installed.

    Raises:
        DitbenchError: it is not.
    """
    if name not in _PEERS:
        raise unknown_name("peer", name, _PEERS)
    package = _PEERS[name].package
    if find_spec(package) is None:
        raise DitbenchError(
            f"the peer '{name}' needs the package {package}", f"pip install {package}"
        )
    return name


def load_peer(name: str) -> Maker:
    """Import the maker of that name; see `check_peer`."""
    module, _, attribute = _PEERS[check_peer(name)].location.partition(":")
    maker: Maker = getattr(import_module(module), attribute)
    return maker


register("diffusers", "diffusers", "ditbench.bench.diffusers_peer:EAGER")
register("diffusers-compiled", "diffusers", "ditbench.bench.diffusers_peer:COMPILED")
