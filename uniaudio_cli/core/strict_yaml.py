"""Strict YAML: the plain types of YAML 1.2, no duplicate keys, and no text read as a number, date or truth value.

PyYAML reads YAML 1.1, where `010` is 8, `1:30` is 90 and `2024-01-01` is a date. Here all of these stay text, so that a
schema can refuse them by name, and `1e-4` is a number. `no`, `yes`, `on` and `off`, text to some readers of a file and
truth values to others, are refused without quotes.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(
    r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\Z|[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z"
)
_BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")
_EITHER = re.compile(r"(yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)\Z")
_NULL = re.compile(r"(~|null|Null|NULL|)\Z")
_TAG = "tag:yaml.org,2002:"
_EITHER_TAG = "!either"


class NotYamlError(ValueError):
    """A text that cannot be read as YAML; the message is one line and names the line where one is to blame."""


class _Loader(yaml.SafeLoader):
    """A loader of null, bool, int, float, str, lists and mappings."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping without duplicate keys."""
        seen: set[Any] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key_node, yaml.ScalarNode):
                key = self.construct_object(key_node)
                if key in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} is given twice", key_node.start_mark
                    )
                seen.add(key)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: Any) -> None:
        """Do nothing: `<<` is a key as any other in YAML 1.2."""

    def typed(self, node: Any) -> Any:
        """A scalar with one of the tags below, written as that type is."""
        text = self.construct_scalar(node)
        pattern, convert = _TYPES[node.tag]
        if not isinstance(text, str) or not pattern.match(text):
            problem = f"{text!r} is no {node.tag[len(_TAG) :]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return convert(text)

    def ambiguous(self, node: Any) -> Any:
        """Refuse a plain scalar that is text by YAML 1.2 and a truth value by YAML 1.1."""
        problem = f"{node.value} is text or a truth value; put it in quotes, or write true or false"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _float(text: str) -> float:
    sign, name = text[:1], text.lstrip("+-.").lower()
    return float(f"{'-' if sign == '-' else ''}{name}" if name in ("inf", "nan") else text)


_TYPES: dict[str, tuple[re.Pattern[str], Any]] = {
    f"{_TAG}null": (_NULL, lambda text: None),
    f"{_TAG}bool": (_BOOL, lambda text: text.lower() == "true"),
    f"{_TAG}int": (_INT, int),
    f"{_TAG}float": (_FLOAT, _float),
}
# These two tables replace those of `SafeLoader`, which has the types and the spellings of YAML 1.1.
_CONSTRUCTORS: dict[str | None, Any] = {
    **dict.fromkeys(_TYPES, _Loader.typed),
    _EITHER_TAG: _Loader.ambiguous,
    f"{_TAG}str": _Loader.construct_yaml_str,
    f"{_TAG}seq": _Loader.construct_yaml_seq,
    f"{_TAG}map": _Loader.construct_yaml_map,
    None: _Loader.construct_undefined,
}
_PLAIN = [(tag, pattern) for tag, (pattern, _) in _TYPES.items()]
_Loader.yaml_implicit_resolvers = {None: [*_PLAIN, (_EITHER_TAG, _EITHER)]}
_Loader.yaml_constructors = _CONSTRUCTORS


def parse_yaml(text: str) -> Any:
    """The value of a YAML text: null, bool, int, float, str, and lists and dicts of them.

    Raises:
        NotYamlError: it is not YAML, or has a key twice.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise NotYamlError(f"{line}not YAML ({_one_line(error.problem)})") from error
    except RecursionError as error:
        raise NotYamlError("not YAML that can be read (nested too deeply)") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number of too many digits
        raise NotYamlError(f"not YAML ({_one_line(error)})") from error


def _one_line(message: object) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(message)).split())
