"""Words key=value from a command line, as arguments of an environment."""

import ast
from collections.abc import Sequence
from typing import Any

from workers.settings.errors import UsageError

_NAMES = {"true": True, "false": False, "none": None}
_BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"))


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """Return key=value words as a dictionary. UsageError.

    true, false and none, in any case, are Python's values. Numbers, quoted text, lists, tuples and
    dictionaries are read as Python writes them. A plain word is text.
    """
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"--env-kwargs takes key=value, not {pair!r}")
        result[key] = _value(key, text)
    return result


def _value(key: str, text: str) -> Any:
    try:
        return ast.literal_eval(_Named().visit(ast.parse(text.strip(), mode="eval")))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if _is_word(text.strip()):
            return text
    raise UsageError(
        f"--env-kwargs {key}={text} cannot be read: write lists as '{key}=[1, 2.5, true]', "
        f"with text in quotes as in \"{key}=['a', 'b']\""
    )


def _is_word(text: str) -> bool:
    """Return whether text that is no literal can be meant as it stands."""
    unfinished = any(text.count(opens) != text.count(closes) for opens, closes in _BRACKETS)
    return not unfinished and not text.startswith(("(", "[", "{", "'", '"'))


class _Named(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Replace true, false and none, in any case, by their values."""
        known = node.id.lower()
        return ast.Constant(_NAMES[known]) if known in _NAMES else node
