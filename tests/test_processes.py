"""What processes send. (launch/test_worker.py kills one.)"""

import pytest

from ditbench.errors import DitbenchError
from ditbench.processes import in_processes


def fail(send):
    send("begun")
    raise DitbenchError("too much", "take less", 1)


def test_an_error_arrives_after_what_was_sent(preloaded):
    messages = in_processes(1, fail)
    assert next(messages) == "begun"
    with pytest.raises(DitbenchError, match="too much") as raised:
        next(messages)
    assert (raised.value.hint, raised.value.exit_code) == ("take less", 1)
