"""How long a run takes, as it is shown before it has ended."""

import pytest

from ditbench.runs.planning import speed
from ditbench.runs.planning.speed import Remaining, Speed, clock


def test_an_evaluation_is_passes_of_the_model_and_of_the_extractor(make_plan):
    measured = Speed(per_step=1.0, per_pass=0.5, per_score=3.0)
    options = {"eval__samples": 40, "eval__sampling_steps": 7}
    assert measured.of_evaluation(make_plan(**options)) == 40 * (7 * 0.5 + 3)
    heun = make_plan(eval__sampler="heun", eval__cfg_scale=2.0, **options)
    assert measured.of_evaluation(heun) == 40 * (7 * 2 * 2 * 0.5 + 3)


def test_the_final_score_adds_draws_with_steps_of_their_own(make_plan):
    measured = Speed(per_step=1.0, per_pass=0.5, per_score=3.0)
    options = {"eval__samples": 40, "eval__sampling_steps": 7}
    assert measured.of_final(make_plan(**options)) == 0
    assert measured.of_final(make_plan(eval__draws=3, **options)) == 2 * 40 * (7 * 0.5 + 3)
    long = make_plan(eval__draws=3, eval__final_sampling_steps=50, **options)
    assert measured.of_final(long) == 3 * 40 * (50 * 0.5 + 3)


def test_a_guess_from_training_takes_a_third_of_a_step(make_plan):
    guess = Speed.from_training(make_plan(train__batch_size=16), per_step=4.8, per_score=0.0)
    assert guess.per_pass == pytest.approx(4.8 / 3 / 16)


def test_evaluations_are_part_of_what_is_left(make_plan, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(speed.time, "monotonic", lambda: now[0])
    plan = make_plan()  # 6 steps of 16 images, 3 evaluations of 40 samples with 2 steps
    left = Remaining(plan, 0, 0.0, per_score=0.25)
    assert left.read() is None
    left.trained(2, 9.6)
    guess = 40 * (2 * 4.8 / 48 + 0.25)
    assert left.read() == pytest.approx(4 * 4.8 + 3 * guess)
    left.evaluating()
    now[0] += 5
    left.evaluating()
    assert left.read() == pytest.approx(4 * 4.8 + 3 * guess - 5)
    left.evaluated(30.0)  # slower than guessed: now it is known
    assert left.read() == pytest.approx(4 * 4.8 + 2 * 30)
    left.trained(6, 28.8)
    left.evaluated(30.0)
    left.evaluated(30.0)
    assert left.read() == 0


def test_draws_of_the_final_score_are_left_after_the_curve(make_plan):
    plan = make_plan(eval__draws=3, eval__final_sampling_steps=6)  # 2 steps along the way
    left = Remaining(plan, 0, 0.0)
    left.trained(6, 6.0)
    for _ in range(3):
        left.evaluated(10.0)
    assert left.read() == pytest.approx(3 * 30)
    left.finishing(2)  # one was made before an interruption
    assert left.read() == pytest.approx(2 * 30)
    left.evaluated(36.0)
    assert left.read() == pytest.approx(36.0)


def test_a_resumed_run_has_fewer_evaluations_left(make_plan):
    left = Remaining(make_plan(), 4, 8.0)
    left.evaluated(3.0)  # the last
    assert left.read() == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-:--"), (0, "0:00"), (4.2, "0:05"), (185, "3:05"), (7385, "2:03:05")],
)
def test_clock(seconds, text):
    assert clock(seconds) == text
