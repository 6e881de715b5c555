"""Check the arguments of public functions, and return them in their final types."""

from __future__ import annotations

import numbers

import numpy as np

LARGEST = float(np.finfo(np.float32).max)  # kernels compute in float32

_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def describe(value) -> str:
    """Return a value as error messages show it: arrays and data frames by shape, lists and tuples of them by length."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if _has_shape(value):
        return f"a {type(value).__name__} of shape {value.shape}"
    if isinstance(value, (list, tuple)) and any(_has_shape(part) for part in value):
        return f"a {type(value).__name__} of {len(value)}"
    return repr(value)


def _has_shape(value) -> bool:
    shape = getattr(value, "shape", ())
    return isinstance(shape, tuple) and shape != ()  # it is () of a number of NumPy


def shorten(values: np.ndarray | list) -> str:
    """Return the first five values as error messages show them."""
    shown = ", ".join(repr(v) for v in np.asarray(values)[:5].tolist())
    return f"[{shown}, ...]" if len(values) > 5 else f"[{shown}]"


def check_integer(value, name: str, minimum: int) -> int:
    """Return `value` as an int >= `minimum`."""
    message = f"{name} must be an integer >= {minimum}, got {value!r}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral):
        raise TypeError(message)
    if value < minimum:
        raise ValueError(message)
    return int(value)


def _check_real(value, expectation: str, lowest: float, highest: float) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise TypeError(f"{expectation}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an int too large for any float
        number = float("nan")
    if not lowest <= number <= highest:
        raise ValueError(f"{expectation}, got {value!r}")
    return number


def check_positive(value, name: str) -> float:
    """Return `value` as a finite float > 0."""
    return _check_real(value, f"{name} must be a finite number > 0", _SMALLEST, LARGEST)


def check_number(value, name: str) -> float:
    """Return `value` as a finite float >= 0."""
    return _check_real(value, f"{name} must be a finite number >= 0", 0.0, LARGEST)


def check_fraction(value, name: str) -> float:
    """Return `value` as a float >= 0 and < 1, in float32 too."""
    expectation = f"{name} must be a number >= 0 and < 1"
    number = _check_real(value, expectation, 0.0, float(np.nextafter(1.0, 0.0)))
    if np.float32(number) == 1:
        raise ValueError(f"{expectation}, got {value!r}, which is 1 in float32")
    return number


def check_choice(value, name: str, choices) -> None:
    """Raise an error unless `value` is one of `choices`."""
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {known}, got {value!r}")


def check_hidden(hidden, name: str = "hidden") -> tuple[int, ...]:
    """Return the widths of the hidden layers; a single number stands for one layer."""
    if isinstance(hidden, numbers.Integral) and not isinstance(hidden, bool):
        hidden = (hidden,)
    try:
        widths = tuple(hidden)
    except TypeError:
        raise TypeError(f"{name} must be a sequence of widths, like (128,), got {hidden!r}") from None
    return tuple(check_integer(width, f"{name}: every width", 1) for width in widths)


def check_activations(activation, n_hidden: int, known) -> list[str]:
    """Return the activation of every hidden layer, each one of `known`."""
    try:
        names = [activation] * n_hidden if isinstance(activation, str) else list(activation)
    except TypeError:
        raise TypeError(f"activation must be one name, or one per hidden layer, got {activation!r}") from None
    if isinstance(activation, str):
        check_choice(activation, "activation", known)
    for name in names:
        check_choice(name, "activation", known)
    if len(names) != n_hidden:
        raise ValueError(f"activation must be one name, or one per hidden layer ({n_hidden}), got {activation!r}")
    return names


def check_field(owner, name, minimum=0.0, exclusive=False):
    """Raise an error unless an attribute of a schedule or an optimizer is a finite number >= `minimum`, or > it."""
    value = getattr(owner, name)
    bound = f"{'>' if exclusive else '>='} {minimum:g}"
    message = f"{type(owner).__name__}: {name} must be a finite number {bound}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(message)
    if not abs(value) <= LARGEST or value < minimum or (exclusive and value == minimum):
        raise ValueError(message)
