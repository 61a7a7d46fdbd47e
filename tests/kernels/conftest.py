"""What cannot run on every system."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("triton") else ["test_kernels.py"]
