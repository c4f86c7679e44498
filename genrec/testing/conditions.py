"""The error of a broken contract, and comparisons that raise it."""

import numpy as np
from numpy.typing import ArrayLike


class ContractError(AssertionError):
    """A component breaks its contract; the message says which part of it, and where."""


def require(condition: object, message: str) -> None:
    """Raise ContractError unless the condition holds."""
    if not condition:
        raise ContractError(message)


def require_close(
    found: ArrayLike, expected: ArrayLike, message: str, *, atol: float = 1e-6, rtol: float = 0.0
) -> None:
    """Raise ContractError where two arrays differ in shape, or by more than the tolerance.

    Args:
        found: what the component returned.
        expected: what it should have returned.
        message: what should hold; the first difference is appended.
        atol: absolute tolerance.
        rtol: relative tolerance.
    """
    actual, wanted = np.asarray(found), np.asarray(expected)
    shapes = f"{message}: shape {actual.shape} instead of {wanted.shape}"
    require(actual.shape == wanted.shape, shapes)
    # -inf equals -inf here: scores of PAD are compared like any other.
    wrong = ~np.isclose(actual, wanted, atol=atol, rtol=rtol, equal_nan=True)
    if wrong.any():
        where = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise ContractError(f"{message}: at {where} {actual[where]:g} instead of {wanted[where]:g}")
