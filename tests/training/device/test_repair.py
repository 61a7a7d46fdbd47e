"""Damaged files in torch's caches of compiled code."""

import pytest

from ditbench.training.device.repair import repaired

KEYS = ("c" + "a2" * 25 + "b", "c" + "q7" * 25 + "d", "c" + "z3" * 25 + "f")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """One file per key, where Inductor keeps it."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    files = [tmp_path / key[1:3] / f"{key}.main.so" for key in KEYS]
    for file in files:
        file.parent.mkdir()
        file.write_text("damaged")
    return files


def test_what_an_error_names_is_removed_until_it_works(cache):
    """By its path, or by the name of a module; an error that stands below another counts."""
    first, second, healthy = cache

    def compute():
        if first.exists():
            raise ImportError(f"{first}: file too short")
        if second.exists():
            try:
                raise AttributeError(f"module 'compile_tasks.{KEYS[1]}' has no attribute 'call'")
            except AttributeError as error:
                raise RuntimeError("backend='inductor' raised") from error
        return 7

    assert repaired(compute) == 7
    assert [file.exists() for file in cache] == [False, False, True]
    assert healthy.read_text() == "damaged"


def test_other_errors_pass_and_remove_nothing(cache):
    calls = []

    def compute():
        calls.append(1)
        raise RuntimeError("No working C++ compiler found in /usr/bin")

    with pytest.raises(RuntimeError, match="No working"):
        repaired(compute)
    assert len(calls) == 1
    assert all(file.exists() for file in cache)


def test_what_cannot_be_repaired_ends(cache):
    """A file that is damaged again each time, as on a full disk."""
    calls = []

    def compute():
        calls.append(1)
        cache[0].write_text("")
        raise ImportError(f"{cache[0]}: file too short")

    with pytest.raises(ImportError):
        repaired(compute)
    assert 1 < len(calls) < 50
