"""`python -m ditbench` and the `ditbench` script."""

from ditbench.cli import main

if __name__ == "__main__":
    main()
