from ditbench.models.registry import block_names
from ditbench.report.facts import PAPER_ORDER, in_order, is_recipe


def test_the_papers_blocks_come_first_in_its_order():
    names = ["zeta", "adaln-zero", "alpha", "adaln", "in-context", "cross-attention", "adaln"]
    expected = ["in-context", "cross-attention", "adaln", "adaln-zero", "alpha", "zeta"]
    assert in_order(names) == expected


def test_they_are_the_group_of_that_name():
    assert list(PAPER_ORDER) == block_names("paper")


def test_further_metrics_keep_no_runs_apart():
    assert not is_recipe("metrics.also")
    assert not is_recipe("metrics.extra")
    assert is_recipe("train.grad_clip")
