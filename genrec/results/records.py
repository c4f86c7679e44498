"""What all typed results share: immutable records, a schema version, reading and writing."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError

from genrec.config.errors import RunError
from genrec.config.writing import write_text

CHECKSUM = "checksum"  # key of the hash of everything else in a file of a run directory
SCHEMA_VERSION = 1
"""Version of the format of a result, unless its class has one of its own."""


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

    A class gets a higher version whenever one of its fields is renamed or removed, or changes its
    meaning; files of other classes stay readable.

    Attributes:
        schema_version: version of the format; a reader accepts its own version only.
    """

    schema_version: int = SCHEMA_VERSION

    def to_json(self, indent: int | None = 2) -> str:
        """JSON text of the record; floats keep every digit."""
        return json.dumps(self.model_dump(mode="json"), indent=indent)

    @classmethod
    def parse(cls, text: str, source: Path | str, remedy: str) -> Self:
        """Record from JSON text.

        Args:
            text: JSON; a checksum in it is verified.
            source: where the text comes from, for messages.
            remedy: what the user can do if the text cannot be used, for messages.

        Raises:
            RunError: if the text is no JSON object, has another schema version or wrong content, or
                was changed after its checksum was computed.
        """
        content = read_object(text, source, remedy)
        found, own = (
            content.get("schema_version", "none"),
            cls.model_fields["schema_version"].default,
        )
        if found != own:
            raise RunError(
                f"{source} was written by another version of genrec (schema version {found}, not"
                f" {own}): {remedy}"
            )
        expected = content.pop(CHECKSUM, None)
        # strict: JSON has numbers, so that "0.3" in their place is a mistake
        try:
            record = cls.model_validate_json(json.dumps(content), strict=True)
        except ValidationError as error:
            raise RunError(f"{source} cannot be used: {first_problem(error)}; {remedy}") from None
        if expected is not None and expected != checksum(content):
            raise RunError(
                f"{source} was changed after it was written (its checksum differs): restore it, or"
                f" {remedy}"
            )
        return record


class RunFile(VersionedRecord):
    """A record that is kept as a file of its own in a run directory.

    Attributes:
        file_name: of the file.
        remedy: what the user can do about a file that cannot be used.
    """

    file_name: ClassVar[str]
    remedy: ClassVar[str] = "remove {directory} and run its command again"

    def write(self, directory: Path) -> None:
        """Write the file, with a checksum, so that no reader sees half of it."""
        content = self.model_dump(mode="json")
        content[CHECKSUM] = checksum(content)
        write_text(directory / self.file_name, json.dumps(content, indent=2) + "\n")

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the file of a run directory.

        Raises:
            RunError: if the file is missing, broken, of another schema version or has wrong
                content.
        """
        path, remedy = directory / cls.file_name, cls.remedy.format(directory=directory)
        return cls.parse(read_run_text(path, remedy), path, remedy)


def read_run_text(path: Path, remedy: str) -> str:
    """The text of a file of a run directory.

    Raises:
        RunError: if it is missing, or no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{path} does not exist: {explain_missing(path.parent)}") from None
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is not valid JSON ({error}): {remedy}") from None


def read_object(text: str, source: Path | str, remedy: str) -> dict[str, Any]:
    """The JSON object in a text.

    Raises:
        RunError: if the text is not valid JSON, or something else than an object.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{source} is not valid JSON ({error}); writing it may have been cut off: {remedy}"
        ) from None
    if not isinstance(content, dict):
        raise RunError(f"{source} holds no JSON object: {remedy}")
    return content


def checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 hash of a JSON object, whatever the order and the layout of its keys.

    >>> checksum({"a": 1, "b": [2.5]}) == checksum({"b": [2.5], "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


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


def first_problem(error: ValidationError) -> str:
    """Place and message of the first of the errors, and how many others there are."""
    details = error.errors(include_url=False)
    place = ".".join(map(str, details[0]["loc"]))
    others = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{place}: {details[0]['msg']}{others}"
