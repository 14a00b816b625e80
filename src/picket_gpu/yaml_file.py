"""Reading a YAML file of parameters."""

from pathlib import Path
from typing import Any

import yaml

from picket_gpu.errors import PicketError, one_line


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
        content = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise PicketError(f"{path}: is not valid YAML: {_reason(error)}") from None
    except RecursionError:
        raise PicketError(f"{path}: is not valid YAML: brackets are nested too deep") from None
    if not isinstance(content, dict):
        raise PicketError(f"{path}: must hold keys and values, such as dataset_name: my_dataset")
    return content


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
            return super().construct_object(node, deep)
        except ValueError:
            raise yaml.constructor.ConstructorError(
                problem=f"{str(node.value)[:40]} is no {node.tag.rpartition(':')[2]}",
                problem_mark=node.start_mark,
            ) from None

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
