"""Faults that a user can mend, each in one line."""

from difflib import get_close_matches

from pydantic import BaseModel, ValidationError


class PicketError(Exception):
    """A fault in the input, in one line: what is wrong, and what would be right.

    The command line prints it without a traceback and ends with exit code 2.
    """


def first_fault(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """The first fault of a failed validation as ``key: what is wrong (got value)``.

    Args:
        model: its keys are offered where an unknown one is misspelled.
    """
    faults = error.errors()
    fault = faults[0]
    key = ""
    for part in fault["loc"]:
        key += f"[{part}]" if isinstance(part, int) else f".{part}" if key else str(part)
    if fault["type"] == "extra_forbidden":
        message = "unknown key" + _suggestion(str(fault["loc"][-1]), fault["loc"][:-1], model)
    elif fault["type"] == "missing":
        message = "is missing"
    else:
        message = fault["msg"].removeprefix("Value error, ")
        message = message[:1].lower() + message[1:]
        if not isinstance(fault["input"], dict | list | BaseModel):
            message += f" (got {fault['input']!r})"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return " ".join(f"{key}: {message}{more}".removeprefix(": ").split())


def _suggestion(key: str, place: tuple[int | str, ...], model: type[BaseModel] | None) -> str:
    if place or model is None:
        return "; remove it"
    known = [field.alias or name for name, field in model.model_fields.items()]
    close = get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys are {', '.join(known)}"
