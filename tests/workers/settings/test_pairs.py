"""Arguments of environments, as they are typed."""

import pytest

from workers.settings.errors import UsageError
from workers.settings.pairs import parse_pairs


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
        *((text, None) for text in ("none", "None", "NONE")),
        ("1", 1),
        ("-0.5", -0.5),
        ("1e-3", 0.001),
        ("[1, 2.5, true, None]", [1, 2.5, True, None]),
        ("(2,5)", (2, 5)),
        ("{'walls': false, 'sizes': [[1], []]}", {"walls": False, "sizes": [[1], []]}),
        ("'false'", "false"),
        ("['a', \"b\"]", ["a", "b"]),
        ("word", "word"),
        ("x=y", "x=y"),
        ("4x4", "4x4"),
        ("falsehood", "falsehood"),
        ("true-ish", "true-ish"),
        ("../models/a model (1).xml", "../models/a model (1).xml"),
        ("", ""),
    ],
)
def test_a_value_means_what_it_says(text, value):
    read = parse_pairs([f"key={text}"])["key"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "text", ["[1, 2", "1, 2]", "(2, 5", "{'a': 1", "'word", '"word', "[a, b]", "{}}", "[1 2]"]
)
def test_what_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match=r"cannot be read: write lists as 'key=\[1, 2.5, true\]'"):
        parse_pairs([f"key={text}"])


@pytest.mark.parametrize("pair", ["frameskip", "=1", "two words=1"])
def test_a_pair_is_a_name_and_a_value(pair):
    with pytest.raises(UsageError, match="takes key=value"):
        parse_pairs([pair])
