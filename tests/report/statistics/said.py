"""What is said of a verdict, without the rest of a comparison."""

import re

from ditbench.report.verdict_words import verdict_notes, verdict_sentence

INFERENCE = re.compile(r"significant|interval|confiden|\bp\b|t test", re.IGNORECASE)


def sentence_of(verdict):
    return verdict_sentence(verdict, "FID", f"{verdict.value:.2f}")


def words_of(verdict):
    return " ".join([sentence_of(verdict), *verdict_notes(verdict)])
