"""What the streams are, in one line each: read by the command line, which lists them without importing torch."""

from __future__ import annotations

STREAMS: dict[str, str] = {
    "arithmetic": "Four arithmetic tasks on numbers of three digits, one after the other, as texts; generated, "
    "needs no data.",
    "diabetes": "442 patients, ten numbers each, and how their diabetes progressed within a year; needs no download.",
    "digits": "1 797 real handwritten digits of 8 x 8 pixels, ten classes; needs no download.",
    "folder": "A folder of pictures, ``train/<class>/*`` and ``test/<class>/*``, or ``<class>/*``, or "
    "with a file of labels.",
    "hugging_face": "A folder that Hugging Face's ``save_to_disk`` wrote; nothing is downloaded.",
    "table": "A csv file with a header, a row for each sample, and a column for its class.",
    "text": "A folder of texts, a domain for each ``<domain>.txt`` or each folder ``<domain>/`` of such files.",
    "split_mnist": "MNIST, ten digits of 28 x 28 pixels, split by class.",
    "permuted_mnist": "MNIST under another fixed permutation of its pixels in every experience (Goodfellow et "
    "al. 2013).",
    "rotated_mnist": "MNIST rotated by another fixed angle in every experience.",
    "split_fmnist": "Fashion-MNIST, ten kinds of clothes of 28 x 28 pixels, split by class.",
    "split_cifar10": "CIFAR-10, ten kinds of things of 32 x 32 pixels, split by class.",
    "split_cifar100": "CIFAR-100, a hundred kinds of things, split by class.",
    "split_tinyimagenet": "Tiny ImageNet, 200 kinds of things, split by class.",
    "split_omniglot": "Omniglot, 964 hand-drawn characters, split by class.",
    "core50": "CORe50, fifty everyday objects filmed in eleven sessions, in its authors' own orders.",
}
"""One line about each stream by name: the project's own, then the classic ones."""
