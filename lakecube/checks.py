"""What a value that a user gives is, asked without raising whatever the value is."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def is_number(value: Any) -> bool:
    """Whether a value is a finite real number; True and False are none."""
    if not isinstance(value, int | float | np.integer | np.floating) or is_flag(value):
        return False
    number: Any = value
    return bool(-1e300 < number < 1e300)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number that NumPy can hold; True and False are none."""
    return isinstance(value, int | np.integer) and not is_flag(value) and abs(int(value)) < 2**63


def is_flag(value: Any) -> bool:
    """Whether a value is True or False."""
    return isinstance(value, bool | np.bool_)


def is_word(value: Any, words: Any) -> bool:
    """Whether a value is a text and one of some words."""
    return isinstance(value, str) and value in words


def is_path(value: Any) -> bool:
    """Whether a value may be the path of a file."""
    return isinstance(value, str | os.PathLike) and bool(str(value)) and "\0" not in str(value)
