"""Reading a YAML file of parameters."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from picket_gpu.errors import PicketError, one_line

S1_FILE = "name a YAML file with S1 parameters"
LARGEST = 2**22  # bytes of a file
MOST_REPEATED = 100_000  # values that aliases may stand for
MOST_BITS = 1024  # of an integer; Python itself cannot write very large ones


def read_yaml(path: Path, wanted: str = S1_FILE) -> dict[Any, Any]:
    """Keys and values of a YAML file.

    Dates are left as text, and a key that appears twice is a fault.

    Args:
        wanted: what a message asks for where the file cannot be read.

    Raises:
        PicketError: the file cannot be read, or does not hold keys and values.
    """
    text = _text(path, wanted)
    try:
        content = _content(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise PicketError(
            f"{path}: is not valid YAML: line {line}: {chr(error.character)!a} is not a "
            "printable character; remove it"
        ) from None
    except yaml.YAMLError as error:
        hint = _blank(text) or _quotes(text, error)
        raise PicketError(f"{path}: is not valid YAML: {_reason(error)}{hint}") from None
    except RecursionError:
        raise PicketError(f"{path}: is not valid YAML: brackets are nested too deeply") from None
    if not isinstance(content, dict):
        raise PicketError(f"{path}: must hold keys and values, such as dataset_name: my_dataset")
    return content


def scalar(path: Path, place: Sequence[str | int]) -> str | None:
    """The value at a place of a YAML file as it is written there, without quotes.

    Args:
        place: keys and indices that lead to it; other parts of it are ignored.

    Returns:
        Its text; None if there is no single value at that place, or the file cannot be read again.
    """
    try:
        node = _Loader(_text(path, S1_FILE)).get_single_node()
    except (PicketError, yaml.YAMLError, ValueError, RecursionError):
        return None
    for part in place:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == part), node)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def _blank(text: str) -> str:
    """A hint at a blank that YAML does not take for one, as copied from a page; else nothing."""
    for number, line in enumerate(text.splitlines(), 1):
        for letter in line:
            if letter.isspace() and letter not in " \t":
                return f"; line {number} has a blank that is not a space, type it again"
    return ""


def _quotes(text: str, error: yaml.YAMLError) -> str:
    """A hint at a tab, or text without quotes that begins as something else does; else nothing."""
    lines = text.splitlines()
    marks = (getattr(error, name, None) for name in ("context_mark", "problem_mark"))
    for mark in marks:
        if mark is not None and mark.line < len(lines):
            letter = lines[mark.line][mark.column : mark.column + 1]
            if letter == "\t":
                return "; write spaces in place of tabs"
            if letter and letter in "*&!@`%=<":
                return f"; put text that begins with {letter} in quotes"
    return ""


def _text(path: Path, wanted: str) -> str:
    """Of a file, line ends as they are."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)  # no more: a device has no end
    except FileNotFoundError:
        raise PicketError(f"{path}: no such file; {wanted}") from None
    except OSError as error:
        raise PicketError(f"{path}: cannot be read ({error.strerror}); {wanted}") from None
    if len(data) > LARGEST:
        raise PicketError(f"{path}: is larger than 4 MiB; {wanted}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise PicketError(f"{path}: is not a text file in UTF-8; save it as UTF-8") from None


def _content(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_aliases(node)
        return loader.construct_document(node)
    except (ArithmeticError, ValueError):  # PyYAML lets through what Python says of them
        raise yaml.scanner.ScannerError(
            problem="an escape or number is out of range", problem_mark=loader.get_mark()
        ) from None
    finally:
        loader.dispose()


def _check_aliases(root: yaml.Node) -> None:
    """Whether aliases stand for a bearable number of values: ten of ten of ten explode.

    Raises:
        ConstructorError: they do not, or an anchor is inside itself.
    """
    sizes: dict[int, int] = {}  # of nodes with all that they lead to
    repeated = 0

    def size(node: yaml.Node) -> int:
        nonlocal repeated
        known = sizes.get(id(node))
        if known == 0:
            raise yaml.constructor.ConstructorError(
                problem="an anchor contains itself; write its value out",
                problem_mark=node.start_mark,
            )
        if known is None:
            sizes[id(node)] = 0
            known = sizes[id(node)] = 1 + sum(map(size, _children(node)))
            return known
        repeated += known
        if repeated > MOST_REPEATED:
            raise yaml.constructor.ConstructorError(
                problem=f"aliases expand to more than {MOST_REPEATED} values; write them out",
                problem_mark=node.start_mark,
            )
        return known

    size(root)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without its dates, and without letting the last of two keys win."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def save_possible_simple_key(self) -> None:
        # PickET's documentation prints a list's bracket in the line below its key, as far to the
        # left. There YAML wants a key and nothing else.
        super().save_possible_simple_key()
        key = self.possible_simple_keys.get(self.flow_level)
        if key and self.peek() in "[{":
            key.required = False

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, ValueError):
            # PyYAML lets through what Python says of a tag that does not fit its value.
            raise yaml.constructor.ConstructorError(
                problem=f"{str(node.value)[:40]} is not a valid {node.tag.rpartition(':')[2]}",
                problem_mark=node.start_mark,
            ) from None
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise yaml.constructor.ConstructorError(
                problem=f"{node.value[:40]} is too large a number", problem_mark=node.start_mark
            )
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name in seen and name is not None:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {name} appears twice", problem_mark=key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def _reason(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return one_line(error)
    return f"line {error.problem_mark.line + 1}: {error.problem}"
