"""What all typed results share: immutable records, a schema version, reading and writing."""

import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError

from genrec.config.errors import RunError

# Raise it whenever a field of any result is renamed or removed, or changes its meaning.
SCHEMA_VERSION: Literal[1] = 1
"""Version of the format of all results."""


def _require_number(value: object) -> int | float:
    """The value: an integer stays one, so that a count such as "update" is written as 40."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return value if isinstance(value, int) else float(value)


Metrics = dict[str, Annotated[int | float, PlainValidator(_require_number)]]
"""Name of a metric -> value, such as {"ndcg@10": 0.17}; the names are open."""


class Record(BaseModel):
    """An immutable record; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class VersionedRecord(Record):
    """A record that is read outside the process that made it.

    Attributes:
        schema_version: version of the format; a reader accepts its own version only.
    """

    schema_version: Literal[1] = SCHEMA_VERSION

    def to_json(self, indent: int | None = 2) -> str:
        """JSON text of the record; floats keep every digit."""
        return json.dumps(self.model_dump(mode="json"), indent=indent)

    @classmethod
    def parse(cls, text: str, source: Path | str, remedy: str) -> Self:
        """Record from JSON text.

        Args:
            text: JSON.
            source: where the text comes from, for messages.
            remedy: what the user can do if the text cannot be used, for messages.

        Raises:
            RunError: if the text is no JSON object, has another schema version or wrong content.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise RunError(
                f"{source} is not valid JSON ({error}); writing it may have been cut off: {remedy}"
            ) from None
        if not isinstance(content, dict):
            raise RunError(f"{source} holds no JSON object: {remedy}")
        found = content.get("schema_version", "none")
        if found != SCHEMA_VERSION:
            raise RunError(
                f"{source} was written by another version of genrec (schema version {found}, not"
                f" {SCHEMA_VERSION}): {remedy}"
            )
        # strict: JSON has numbers, so that "0.3" in their place is a mistake
        try:
            return cls.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise RunError(f"{source} cannot be used: {_first(error)}; {remedy}") from None


class RunFile(VersionedRecord):
    """A record that is kept as a file of its own in a run directory.

    Attributes:
        file_name: of the file.
        remedy: what the user can do about a file that cannot be used.
    """

    file_name: ClassVar[str]
    remedy: ClassVar[str] = "remove {directory} and run its command again"

    def write(self, directory: Path) -> None:
        """Write the file through a temporary one, so that no reader sees half of it."""
        # replacing a file is atomic, writing one is not
        path = directory / self.file_name
        temporary = path.with_suffix(path.suffix + ".part")
        temporary.write_text(self.to_json() + "\n", encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the file of a run directory.

        Raises:
            RunError: if the file is missing, broken, of another schema version or has wrong
                content.
        """
        path = directory / cls.file_name
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise RunError(f"{path} does not exist: {explain_missing(directory)}") from None
        return cls.parse(text, path, cls.remedy.format(directory=directory))


def explain_missing(directory: Path) -> str:
    """Why a directory may lack a file of a finished run, and what to do, as its other files tell.

    Args:
        directory: in which the file was looked for.
    """
    if (directory / "plan.json").exists() and not (directory / "run.json").exists():
        return f"{directory} is not finished; the command that started it resumes it"
    found = sorted(path.parent for path in directory.glob("*/seed-*/run.json"))
    if found:
        return f"{directory} is a sweep; give one of its runs, such as {found[0]}"
    return f"is {directory} a genrec run directory?"


def _first(error: ValidationError) -> str:
    """Place and message of the first of the errors, and how many others there are."""
    details = error.errors(include_url=False)
    place = ".".join(map(str, details[0]["loc"]))
    others = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{place}: {details[0]['msg']}{others}"
