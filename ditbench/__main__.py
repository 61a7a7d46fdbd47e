"""`python -m ditbench` and the `ditbench` script."""

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        from ditbench.ctrl_c import leave_imports
        from ditbench.inherited import prepare_process

        leave_imports()
        prepare_process()
        from ditbench.cli import main as run

        run()
    except KeyboardInterrupt:  # while it starts: a command that is running handles its own
        print("interrupted", file=sys.stderr, flush=True)
        os._exit(130)


if __name__ == "__main__":
    main()
