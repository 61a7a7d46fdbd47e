"""The matrix product that shares are taken of."""

import pytest
import torch
from plans import CPU

from ditbench.bench.matmul_peak import matmul


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_the_matmul_is_a_product_in_the_precision(precision, dtype, monkeypatch):
    monkeypatch.setattr("ditbench.bench.matmul_peak.CPU_SIDE", 32)
    step, flops = matmul(CPU, precision)
    out = step()
    assert flops == 2 * 32**3
    assert str(out.dtype) == f"torch.{dtype}"
    left, right = (matrix.double() for matrix in step.args)
    torch.testing.assert_close(out.double(), left @ right, rtol=2e-2, atol=2e-1)
