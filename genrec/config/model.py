"""The base class of all settings, and the types that they share."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

NO_NUMBER = "no_number"  # type of the validation errors of truth values

Share = Annotated[float, Field(ge=0, le=1)]
"""A number from 0 to 1."""
PositiveShare = Annotated[float, Field(gt=0, le=1)]
"""A number above 0, of at most 1."""
Dropout = Annotated[float, Field(ge=0, lt=1)]
"""A rate of dropout: below 1, which would leave nothing."""
Power = Annotated[float, Field(ge=0, le=10)]
"""An exponent of counts, which stay finite numbers."""
Temperature = Annotated[float, Field(ge=0.01, le=100)]
"""What scores are divided by; beyond these ends a softmax is one item, or uniform."""
LearningRate = Annotated[float, Field(gt=0, le=1)]
"""Step size of Adam, which moves every weight by up to this in a step."""
WeightDecay = Annotated[float, Field(ge=0, le=10)]
"""Decoupled weight decay, which is multiplied by the learning rate."""
Weight = Annotated[float, Field(ge=0, le=1_000)]
"""Weight of a term of a loss, beside others of weight 1."""
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
"""An integer of at least 1."""
Width = Annotated[int, Field(ge=1, le=16_384)]
"""Length of a vector."""
Depth = Annotated[int, Field(ge=1, le=256)]
"""Number of layers."""
Length = Annotated[int, Field(ge=1, le=10_000)]
"""Number of items or events of one user, or of one list."""
Sample = Annotated[int, Field(ge=1, le=100_000)]
"""Number of items that are drawn for one step."""
Lists = Annotated[int, Field(ge=1, le=10_000_000)]
"""Number of lists that are kept in memory."""
Number = Annotated[int, Field(ge=0, le=1_000_000_000)]
"""An integer of at least 0."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""A random seed that every library takes."""


def listed(value: object) -> object:
    """The parts of a text that are separated by commas; any other value as it is.

    >>> listed("wandb, mlflow")
    ['wandb', 'mlflow']
    """
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]


class Config(BaseModel):
    """Settings of one component: immutable, unknown keys are errors, and numbers are finite.

    The docstring below a field is its meaning in ``genrec settings`` and in the documentation.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_value_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false for numbers, which Python takes for 1 and 0."""
        if isinstance(value, bool) and info.field_name is not None:
            kinds = set(_plain_types(cls.model_fields[info.field_name].annotation))
            if kinds & {int, float} and bool not in kinds:
                raise PydanticCustomError(NO_NUMBER, "give a number, not true or false")
        return value


class PrecisionConfig(Config):
    """The precision of a training."""

    bf16: Literal["auto", True, False] = "auto"
    """Whether matrix products run in bfloat16. auto: where a product of the training's own shape is
    at least 1.2 times as fast in it, timed when the run starts and kept when it is resumed."""


def _plain_types(annotation: Any) -> Iterator[Any]:
    """The types in an annotation."""
    yield annotation
    for part in get_args(annotation):
        yield from _plain_types(part)
