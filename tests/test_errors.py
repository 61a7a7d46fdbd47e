"""The error class that users see, and its suggestions for unknown names."""

import pickle

import pytest

from ditbench.errors import EXIT_FAILED, EXIT_USAGE, DitbenchError, unknown_name


def test_the_exit_code_is_that_of_usage_by_default():
    error = DitbenchError("what", "do this")
    assert (str(error), error.message, error.hint) == ("what", "what", "do this")
    assert error.exit_code == EXIT_USAGE == 2
    assert DitbenchError("what", None, EXIT_FAILED).exit_code == 1


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("adaln_zero", ["in-context", "adaln-zero"], "did you mean adaln-zero?"),
        ("ADALN", ["in-context", "adaln"], "did you mean adaln?"),
        ("s/4", ["S/4"], "did you mean S/4?"),
        ("lr", ["train.lr", "seed"], "did you mean train.lr?"),
        ("batch_size", ["eval.batch_size", "train.batch_size"],
         "did you mean eval.batch_size or train.batch_size?"),
        ("zzz", ["alpha", "beta"], "known: alpha, beta"),
        ("", ["alpha"], "known: alpha"),
    ],
)  # fmt: skip
def test_the_hint_suggests_the_nearest_names_or_lists_all(name, known, hint):
    error = unknown_name("thing", name, known)
    assert error.message == f"unknown thing '{name}'"
    assert error.hint == hint


def test_at_most_three_names_are_suggested():
    assert unknown_name("thing", "ab", ["ab1", "ab2", "ab3", "ab4"]).hint.count("ab") == 3


class _DivergedError(DitbenchError):
    """An error that is made from something else than a message, and has a fact more."""

    def __init__(self, step: int, *, loss: float) -> None:
        super().__init__(f"diverged at step {step}", "lower the rate", EXIT_FAILED)
        self.loss = loss


def test_another_process_can_receive_any_such_error():
    error = _DivergedError(3, loss=7.0)
    error.exit_code = 9
    received = pickle.loads(pickle.dumps(error))
    assert type(received) is _DivergedError
    assert str(received) == "diverged at step 3"
    assert vars(received) == vars(error)
