"""`python -m ditbench` and the `ditbench` script."""

from typing import NoReturn

from ditbench.inherited import prepare_process


def main() -> NoReturn:
    """Run the command line and exit."""
    prepare_process()
    from ditbench.cli import main as run

    run()


if __name__ == "__main__":
    main()
