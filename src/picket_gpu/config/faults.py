"""What is wrong with a parameter file, in one line in its user's words."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

FORMS = ("one setting", "several settings")  # of a key, which are no part of its name
LONGEST = 400  # characters of a value or key in a message

# pydantic's words, where a user of a YAML file would not know them.
_WORDS = {
    "missing": "is missing",
    "too_short": "must not be empty",
    "string_too_long": "is too long",
    "string_too_short": "must not be empty",
    "path_type": "must be a path",
    "model_type": "must be keys and values in braces",
    "model_attributes_type": "must be keys and values in braces",
    "tuple_type": "must be one number or [z, y, x]",
    "dict_type": "must be keys and values in braces",
    "list_type": "must be a list in brackets",
    "byte_size": "must be bytes or text such as 12 GiB",
    "byte_size_unit": "must be bytes or text such as 12 GiB",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
    "finite_number": "must be a finite number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "literal_error": "must be {expected}",
}


_TEXT = ("must be text", "must be a path")  # and no number


class Scalars(Protocol):
    """Where the values of a parameter file can be looked up as they are written."""

    def __call__(self, place: Sequence[str | int], /) -> str | None:
        """Text of the value at a place, without quotes; None if it is not one text."""


def first_fault(
    error: ValidationError, models: Mapping[str, Any], written: Scalars | None = None
) -> str:
    """The first fault of a failed validation as ``key: what is wrong (got value)``.

    Args:
        models: the model classes that each part of the input is made of, by the last name on the
            way to it; their keys are offered where an unknown one is misspelled.
        written: values as they are written, which YAML turns into others: 001 into 1.
    """
    # Unknown keys first: one that is missing may be misspelled.
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    fault: Mapping[str, Any] = faults[0]
    kind, context = fault["type"], fault.get("ctx", {})
    place = [part for part in fault["loc"] if part not in FORMS]
    discriminator = context.get("discriminator", "").strip("'")
    if kind == "extra_forbidden":
        around = [part for part in place[:-1] if isinstance(part, str)]
        message = "unknown key" + _suggestion(str(place[-1]), models.get((["", *around])[-1]))
    elif kind == "union_tag_not_found":
        message = f"{discriminator} is missing"
    elif kind == "union_tag_invalid":
        place.append(discriminator)
        message = f"must be one of {context['expected_tags']} (got {_shown(context['tag'])})"
    elif kind == "invalid_key":
        message = "keys should be strings; a decimal number has a point"
    else:
        words = _WORDS.get(kind)
        limits = {name: _whole(value) for name, value in context.items()}
        message = words.format(**limits) if words else fault["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if kind != "missing" and not isinstance(fault["input"], dict | list | BaseModel):
            value, text = fault["input"], written(place) if written else None
            got = _as_written(message, value, text) or _shown(value)
            message = f"{message} (got {got}){_remedy(message, value, text)}"
    key = ""
    for part in place:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return " ".join(f"{_cut(key)}: {message}{more}".removeprefix(": ").split())


def _whole(value: Any) -> Any:
    """A limit without a fraction of 0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _as_written(message: str, value: Any, written: str | None) -> str | None:
    """What was written for a value, if the value itself would not be recognised, else None."""
    switch = isinstance(value, bool) and str(written).lower() not in ("true", "false")
    number = type(value) in (int, float) and message.startswith(_TEXT)
    return _cut(written) if written and (switch or number) else None


def _shown(value: Any) -> str:
    """A value as Python writes it."""
    try:
        return _cut(repr(value))
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "an integer of thousands of digits"


def _remedy(message: str, value: Any, text: str | None) -> str:
    """What to do about a value that YAML took for something else."""
    if not isinstance(value, str):
        return "; put it in quotes" if text and message.startswith(_TEXT) else ""
    if any(letter.isspace() and letter not in " \t\r\n" for letter in value):
        return "; it has a blank that is not a space, type it again"
    if value.strip().lower() in ("none", "nil", "n/a"):
        return "; leave the key out, or write null"
    if message.startswith("must be true or false"):
        return "; remove the quotes" if value.lower() in ("true", "false", "yes", "no") else ""
    if "number" not in message and "integer" not in message:
        return ""
    number = _number(value.strip().replace("_", ""))
    if number is None or ("integer" in message and not number.is_integer()):
        return ""
    return f"; write {int(number) if number.is_integer() else number}"


def _number(text: str) -> float | None:
    """The number that a text stands for, with a decimal comma perhaps; None if that is unclear."""
    if re.fullmatch(r"[-+]?\d+,(\d{1,2}|\d{4,})", text):
        text = text.replace(",", ".")
    if re.fullmatch(r"[-+]?\d+(\.\d*)?([eE][-+]?\d{1,2})?", text):
        return float(text)
    return None


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _suggestion(key: str, model: type[BaseModel] | None) -> str:
    if model is None:
        return "; remove it"
    known = [field.alias or name for name, field in model.model_fields.items()]
    close = get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys are {', '.join(known)}"
