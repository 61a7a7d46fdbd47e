"""The matrix product that shares are taken of."""

import pytest
import torch
from plans import CPU

from ditbench.bench.matmul_peak import Matmul


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16")])
def test_the_matmul_is_a_product_in_the_precision(precision, dtype, monkeypatch):
    monkeypatch.setattr("ditbench.bench.matmul_peak.CPU_SIDE", 32)
    matmul = Matmul(CPU, precision)
    matmul.step()
    assert matmul.flops == 2 * 32**3
    assert str(matmul._out.dtype) == f"torch.{dtype}"
    expected = matmul._left.double() @ matmul._right.double()
    torch.testing.assert_close(matmul._out.double(), expected, rtol=2e-2, atol=2e-1)
