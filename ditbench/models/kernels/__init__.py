"""Kernels for a GPU in half precision, each of which does in one pass what torch does in several.

They are written in Triton, which compiles them in a second; `ditbench.models.ops` says when they
are used. Importing a module of this package needs Triton.
"""
