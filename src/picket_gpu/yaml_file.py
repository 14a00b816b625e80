"""Reading a YAML file of parameters."""

import re
from pathlib import Path
from typing import Any

import yaml

from picket_gpu.errors import PicketError

# A bracket in the line below its key, as PickET's documentation prints its lists. YAML wants it
# indented further than the key, so it is moved up; line numbers stay.
_BRACKET_BELOW = re.compile(r"^([ \t]*[\w-]+:)[ \t]*\n([ \t]*)\[", re.MULTILINE)


def read_yaml(path: Path) -> dict[Any, Any]:
    """Keys and values of a YAML file.

    Dates are left as text, and a key that appears twice is a fault.

    Raises:
        PicketError: the file cannot be read, or does not hold keys and values.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PicketError(f"{path}: no such file; name a YAML file with S1 parameters") from None
    except OSError as error:
        raise PicketError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise PicketError(f"{path}: is not a text file in UTF-8") from None
    try:
        content = yaml.load(_BRACKET_BELOW.sub(r"\1 [\n\2", text), Loader=_Loader)
    except yaml.YAMLError as error:
        raise PicketError(f"{path}: is not valid YAML: {_reason(error)}") from None
    if not isinstance(content, dict):
        raise PicketError(f"{path}: must hold keys and values, such as dataset_name: my_dataset")
    return content


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader without its dates, and without letting the last of two keys win."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

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
        return " ".join(str(error).split())
    return f"line {error.problem_mark.line + 1}: {error.problem}"
