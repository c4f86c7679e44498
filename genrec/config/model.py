"""The base class of all settings, and the types that they share."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""
Positive = Annotated[float, Field(gt=0)]
"""A number above 0."""
NonNegative = Annotated[float, Field(ge=0)]
"""A number of at least 0."""
Count = Annotated[int, Field(ge=1)]
"""An integer of at least 1."""
Number = Annotated[int, Field(ge=0)]
"""An integer of at least 0."""


def listed(value: object) -> object:
    """The parts of a text that are separated by commas; any other value as it is.

    >>> listed("wandb, mlflow")
    ['wandb', 'mlflow']
    """
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


class Config(BaseModel):
    """Settings of one component: immutable, unknown keys are errors.

    The docstring below a field is its meaning in ``genrec settings`` and in the documentation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
