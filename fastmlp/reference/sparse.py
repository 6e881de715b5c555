"""The first layer for inputs that are mostly zero, by groups of features (`grouped_`) and one by one (`sparse_`)."""

from __future__ import annotations

import numpy as np

from .activations import activation_forward
from .optimizers import optimizer_update


def encode(x):
    """Return floats as bytes, and their values: 0 for 0.0, and the next byte for every new value."""
    values = list(dict.fromkeys([0.0, *x.ravel().tolist()]))
    return np.array([[values.index(v) for v in row] for row in x.tolist()], np.uint8), np.array(values, np.float32)


def make_lists(x, group=3):
    """Return, for every group of neighbouring features, the samples where one of them is not zero, and their values.

    They are pairs of (n,) and (n, group); the last group is padded with zeros.
    """
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % group)))
    lists = []
    for start in range(0, padded.shape[1], group):
        values = padded[:, start : start + group]
        samples = np.flatnonzero(values.any(axis=1))
        lists.append((samples, values[samples]))
    return lists


def make_words(x, group=3):
    """Return, for every sample, the groups that are not empty and their values: pairs of (n,) and (n, group)."""
    padded = np.pad(x, ((0, 0), (0, -x.shape[1] % group))).reshape(len(x), -1, group)
    return [(groups, row[groups]) for row in padded for groups in [np.flatnonzero(row.any(axis=1))]]


def make_lists_from_words(words, n_groups, group=3):
    """Return the lists of `make_lists` from the words of `make_words`."""
    lists = [([], []) for _ in range(n_groups)]
    for sample, (groups, values) in enumerate(words):
        for g, value in zip(groups, values):
            lists[g][0].append(sample)
            lists[g][1].append(value)
    return [(np.array(samples, np.int64), np.array(values).reshape(-1, group)) for samples, values in lists]


def grouped_start(out, bias):
    """Set every row of `out` to the bias, in place."""
    out[:] = bias


def grouped_add(out, lists, weight):
    """Add inp @ weight to `out`, in place, from the lists of inp."""
    for g, (samples, values) in enumerate(lists):
        rows = weight[g * values.shape[1] : (g + 1) * values.shape[1]]
        out[samples] += values[:, : len(rows)] @ rows


def grouped_finish(out, activation):
    """Set `out` to activation(out), in place."""
    out[:] = activation_forward(out, activation)


def grouped_update(dout, lists, weight, velocity, rule):
    """Subtract the optimizer's step for dweight = inp.T @ dout from `weight`, in place, from the lists of inp."""
    gradient = np.zeros_like(weight)
    for g, (samples, values) in enumerate(lists):
        rows = gradient[g * values.shape[1] : (g + 1) * values.shape[1]]
        rows += (values.T @ dout[samples])[: len(rows)]
    optimizer_update(weight, velocity, gradient, rule)


def find_nonzeros(x):
    """Return, for every sample, the features that are not zero and their values."""
    return [(np.flatnonzero(row), row[np.flatnonzero(row)]) for row in x]


def copy_nonzeros(values, features, starts, samples, scale):
    """Return what `find_nonzeros` does, from a CSR matrix."""
    return [(features[starts[i] : starts[i + 1]], values[starts[i] : starts[i + 1]] * scale) for i in samples]


def prepare_entries(entries, factor, kept):
    """Return the entries of inp * factor * kept from those of inp."""
    return [(features, values * factor[features] * kept[i][features]) for i, (features, values) in enumerate(entries)]


def sort_nonzeros(entries, n_features):
    """Return, for every feature, the samples where it is not zero and its values."""
    samples = np.repeat(np.arange(len(entries)), [len(features) for features, _ in entries])
    features, values = (np.concatenate(part) for part in zip(*entries))
    return [(samples[features == feature], values[features == feature]) for feature in range(n_features)]


def sparse_forward(entries, weight, bias, activation):
    """Return activation(inp @ weight + bias) from the entries of inp."""
    return activation_forward(np.stack([values @ weight[features] + bias for features, values in entries]), activation)


def sparse_update(dout, by_feature, weight, velocity, rule):
    """Subtract the optimizer's step for dweight = inp.T @ dout, in place, from the sorted entries of inp."""
    gradient = np.stack([values @ dout[samples] for samples, values in by_feature])
    optimizer_update(weight, velocity, gradient, rule)


def sparse_update_row(dout, entries, weight, learning_rate):
    """Make a step of plain SGD for a batch of one sample, in place, from the entries of inp."""
    ((features, values),) = entries
    weight[features] -= learning_rate * np.outer(values, dout[0])
