import pytest
import torch

from ditbench.objectives.guidance import guided

NULL = 10


def batch(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 4, 4, generator=generator).to(dtype)
    return x, torch.tensor([5, 700, 999]), torch.tensor([1, 2, 3])


def test_scale_one_is_one_call_of_n_rows(toy_model):
    x, t, y = batch()
    model = toy_model(4)
    out = guided(model, 1.0, NULL, channels=2)(x, t, y)
    assert [call[0].shape[0] for call in model.calls] == [3]
    assert torch.equal(out, toy_model(4)(x, t, y))


def test_scale_one_needs_no_null_class_and_others_do(toy_model):
    guided(toy_model(4), 1.0, None, channels=2)
    with pytest.raises(ValueError, match="null_class"):
        guided(toy_model(4), 1.5, None, channels=2)


def test_one_call_of_2n_rows_conditional_first(toy_model):
    x, t, y = batch()
    model = toy_model(4)
    guided(model, 4.0, NULL, channels=2)(x, t, y)
    ((x2, t2, y2),) = model.calls
    assert torch.equal(x2, x.repeat(2, 1, 1, 1))
    assert torch.equal(t2, t.repeat(2))
    assert y2.tolist() == [1, 2, 3, NULL, NULL, NULL]


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.5, 4.0])
def test_every_image_channel_is_extrapolated_and_variances_are_conditional(toy_model, scale):
    x, t, y = batch()
    model = toy_model(4)
    conditional, null = model(x, t, y), model(x, t, torch.full_like(y, NULL))
    out = guided(model, scale, NULL, channels=2)(x, t, y)
    expected = null + scale * (conditional - null)
    torch.testing.assert_close(out[:, :2], expected[:, :2])
    assert torch.equal(out[:, 2:], conditional[:, 2:])
    assert ((out[:, :2] - conditional[:, :2]).abs().amax((0, 2, 3)) > 0.01).all()


def test_the_first_channels_alone_may_be_extrapolated(toy_model):
    x, t, y = batch()
    model = toy_model(4)
    conditional, null = model(x, t, y), model(x, t, torch.full_like(y, NULL))
    out = guided(model, 4.0, NULL, channels=1)(x, t, y)
    torch.testing.assert_close(out[:, :1], (null + 4 * (conditional - null))[:, :1])
    assert torch.equal(out[:, 1:], conditional[:, 1:])


def test_a_model_without_variances(toy_model):
    x, t, y = batch()
    assert guided(toy_model(2), 2.0, NULL, channels=2)(x, t, y).shape == x.shape


def test_extrapolates_a_bfloat16_output_in_float32(toy_model):
    x, t, y = batch()
    model = toy_model(2)

    def bfloat16_model(x, t, y):
        return model(x, t, y).bfloat16()

    out = guided(bfloat16_model, 7.5, NULL, channels=2)(x, t, y)
    conditional = bfloat16_model(x, t, y).double()
    null = bfloat16_model(x, t, torch.full_like(y, NULL)).double()
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double(), null + 7.5 * (conditional - null), rtol=0, atol=1e-5)
