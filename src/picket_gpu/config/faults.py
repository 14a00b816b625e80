"""What is wrong with a parameter file, in one line in its user's words."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

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


def first_fault(error: ValidationError, models: Mapping[str, Any]) -> str:
    """The first fault of a failed validation as ``key: what is wrong (got value)``.

    Args:
        models: the model classes that each part of the input is made of, by the last name on the
            way to it; their keys are offered where an unknown one is misspelled.
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
    else:
        words = _WORDS.get(kind)
        limits = {name: _whole(value) for name, value in context.items()}
        message = words.format(**limits) if words else fault["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if kind != "missing" and not isinstance(fault["input"], dict | list | BaseModel):
            message += f" (got {_shown(fault['input'])})"
    key = ""
    for part in place:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return " ".join(f"{_cut(key)}: {message}{more}".removeprefix(": ").split())


def _whole(value: Any) -> Any:
    """A limit without a fraction of 0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: Any) -> str:
    """A value as Python writes it."""
    try:
        return _cut(repr(value))
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "an integer of thousands of digits"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _suggestion(key: str, model: type[BaseModel] | None) -> str:
    if model is None:
        return "; remove it"
    known = [field.alias or name for name, field in model.model_fields.items()]
    close = get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys are {', '.join(known)}"
