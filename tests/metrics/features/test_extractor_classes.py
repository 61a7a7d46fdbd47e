"""Logits in the order of a data set's classes, and no label accuracy for other classes."""

import dataclasses

import pytest
import torch
from scoring import scorer_of

from ditbench.data.class_names import natural
from ditbench.metrics import class_remark, create_extractor, extractor_class
from ditbench.metrics.features.classifiers import Cifar10Classifier, DigitsClassifier

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture
def named(digits):
    """The digits with a name for each; the classes are in order of the names."""

    def make(names):
        order = sorted(names, key=natural)
        new = torch.tensor([order.index(name) for name in names])
        return dataclasses.replace(digits, labels=new[digits.labels], class_names=tuple(order))

    return make


def accuracy(data):
    """The label accuracy of real images, which is that of the classifier; None without it."""
    extractor = create_extractor("digits", data)
    scorer = scorer_of(extractor, data.images[:200])
    scorer.update(data.images[:200], data.labels[:200])
    return scorer.compute().get("label_accuracy")


def test_the_order_of_the_classes_does_not_change_label_accuracy(digits, named):
    words = named(WORDS)
    assert words.labels[:3].tolist() != digits.labels[:3].tolist()
    expected = accuracy(digits)
    assert expected > 0.9
    assert accuracy(words) == expected


def test_there_is_no_label_accuracy_for_other_classes(named):
    other = named([f"c{number}" for number in range(10)])
    assert accuracy(other) is None
    assert class_remark("digits", other) == (
        "no label accuracy: the classes of 'digits' are c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, "
        "those of the digits features 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    )


def test_features_and_digest_do_not_depend_on_the_names(digits, named):
    plain, words, other = (
        create_extractor("digits", data) for data in (digits, named(WORDS), named("abcdefghij"))
    )
    images = digits.images[:8]
    assert plain.digest == words.digest == other.digest
    assert torch.equal(plain(images).features, words(images).features)
    assert torch.equal(plain(images).features, other(images).features)


def test_its_own_classes_need_no_remark(digits):
    assert extractor_class("digits", digits) is DigitsClassifier
    assert class_remark("digits", digits) is None
    assert class_remark("inception", digits) is None


def test_classes_that_are_matched_are_listed(named):
    assert class_remark("digits", named(WORDS)) == (
        "label accuracy takes the classes of 'digits' as those of the digits features, eight = 8, "
        "five = 5, four = 4, nine = 9, one = 1, seven = 7, six = 6, three = 3, two = 2, zero = 0"
    )


def test_the_same_names_in_another_order_are_remarked(digits):
    turned = dataclasses.replace(digits, labels=9 - digits.labels, class_names=tuple("9876543210"))
    assert accuracy(turned) == accuracy(digits)
    assert class_remark("digits", turned).endswith("the digits features, in another order")


def test_the_names_of_cifar10_are_those_of_torchvision():
    pytest.importorskip("torchvision")
    from ditbench.data.published import _CIFAR10

    assert len(Cifar10Classifier.class_names) == Cifar10Classifier.num_classes == 10
    assert list(Cifar10Classifier.class_names) == sorted(Cifar10Classifier.class_names)
    assert _CIFAR10.name == Cifar10Classifier.name


def test_numbers_stand_for_the_classes_in_their_order():
    order = Cifar10Classifier.for_classes(tuple("0123456789"))
    assert order is Cifar10Classifier
    assert Cifar10Classifier.for_classes(tuple("1234567890")).num_classes is None
