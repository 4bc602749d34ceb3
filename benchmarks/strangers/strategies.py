"""Random recipes of environments, for hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from benchmarks.strangers.environment import Stranger

FLOATS = ("np.float16", "np.float32", "np.float64")
INTEGERS = ("np.int8", "np.uint8", "np.int16", "np.int32", "np.int64", "np.uint16")
SHAPES = ("()", "(0,)", "(1,)", "(2,)", "(4,)", "(2, 3)", "(3, 0)", "(8, 8)", "(2, 2, 2)")
PICTURES = ("(8, 8, 3)", "(40, 40)", "(3, 40, 40)")
RANGES = (
    "-1, 1",
    "0, 1",
    "0.2, 0.8",
    "-0.37, 0.91",
    "-inf, inf",
    "-inf, 0.5",
    "0, inf",
    "0.25, 0.25",
    "-60000, 60000",
)

boxes = st.one_of(
    st.builds(
        "Box({}, {}, {})".format,
        st.sampled_from(RANGES),
        st.sampled_from(SHAPES),
        st.sampled_from(FLOATS),
    ),
    st.builds(
        "Box({}, {}, {})".format,
        st.sampled_from(("0, 1", "0, 100", "3, 3")),
        st.sampled_from(SHAPES),
        st.sampled_from(INTEGERS),
    ),
    st.sampled_from(
        (
            "Box(np.array([-1, -inf, 0]), np.array([1, inf, inf]), dtype=np.float64)",
            "Box(np.array([-1, 0.1], np.float32), np.array([1, 0.7], np.float32))",
            "Box(np.float32(-3.4e38), np.float32(3.4e38), (2,))",
            "Box(-1e300, 1e300, (2,), np.float64)",
            "OwnBox(-2, 3, (2,))",
            "Box(0, 1, (2,), np.longdouble)",
        )
    ),
)
pictures = st.builds(
    "Box({}, {}, {})".format,
    st.just("0, 255"),
    st.sampled_from(PICTURES),
    st.sampled_from(("np.uint8", "np.float32", "np.int16")),
)
choices = st.one_of(
    st.builds(
        "Discrete({}, start={})".format, st.integers(1, 6), st.sampled_from((0, 0, 0, 1, -3, 7))
    ),
    st.sampled_from(
        (
            "Discrete(3, dtype=np.int32)",
            "Discrete(3, start=2, dtype=np.uint8)",
            "OwnDiscrete(3)",
            "Discrete(np.int64(4))",
            "MultiBinary(3)",
            "MultiBinary((2, 2))",
            "MultiBinary([1])",
            "MultiDiscrete([2, 3])",
            "MultiDiscrete([4])",
            "MultiDiscrete([[2, 3], [4, 1]])",
            "MultiDiscrete([2, 3], start=[1, -2])",
            "MultiDiscrete([2, 3], dtype=np.int8)",
        )
    ),
)
odd = st.sampled_from(
    (
        "Text(4)",
        "Text(2, charset='ab')",
        "Graph(Box(0, 1, (2,)), Discrete(2))",
        "Sequence(Discrete(3))",
        "Sequence(Box(0, 1, (2,)), stack=True)",
        "OneOf([Discrete(2), Box(0, 1, (2,))])",
        "Riddle()",
        "Dict()",
        "Tuple([])",
        "None",
        "'a space'",
        "",
    )
)


def _nested(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("Dict(a={}, b={})".format, parts, parts),
        st.builds("Tuple([{}, {}])".format, parts, parts),
        st.builds("Dict({{'b': {}, 'a': {}}})".format, parts, parts),
    )


spaces = st.one_of(
    boxes, choices, st.recursive(st.one_of(boxes, choices, odd.filter(len)), _nested, max_leaves=4)
)
# A stranger observes samples of its space, and gymnasium cannot draw numbers of this type.
observations = st.one_of(boxes, boxes, choices, spaces, pictures, odd).filter(
    lambda space: "np.longdouble" not in space
)
actions = st.one_of(choices, choices, boxes, boxes, spaces)

# One line a kind of misbehaviour: fields, and the values that they take.
MISBEHAVIOURS: tuple[dict[str, Any], ...] = tuple(
    {field: value}
    for field, values in {
        "length": (1, 1, 2, 0, 0),
        "truncates": (True, True),
        "reward": (
            "np.float32(0.1)",
            "np.float64(0.1)",
            "np.array(0.1)",
            "np.array([0.1])",
            "np.array([0.1, 0.2])",
            "[0.1]",
            "1",
            "True",
            "None",
            "'one'",
            "'1.5'",
            "nan",
            "inf",
            "-inf",
            "1e30",
            "1e300",
            "1j",
        ),
        "flag": ("np.bool_", "int", "np.array", "lambda flag: None", "lambda flag: [flag]"),
        "info": (
            "{'episode': 7}",
            "{'episode': {'r': 1e9, 'l': 1}}",
            "{'episode': None}",
            "{'final_observation': 1, 'TimeLimit.truncated': True}",
            "{'lives': 3}",
            "None",
            "[]",
        ),
        "keeps_info": (True, True),
        "reset": ("old", "old", "none"),
        "step": ("old", "old", "none"),
        "spoils": (
            "np.float64(0.5)",
            "np.zeros(1, np.float32)",
            "np.zeros(7, np.float32)",
            "x[None] if isinstance(x, np.ndarray) else [x]",
            "x * np.nan",
            "x * 0 + np.inf",
            "None",
            "'seen'",
            "x.tolist()",
            "x.astype(np.float64)",
            "x.astype(object)",
            "self.observation_space",
            "{}",
            "10 * x",
        ),
        "raises": ("constructor", "reset", "reset", "step", "step", "close", "render"),
        "error": (
            "Misbehaviour()",
            "KeyError('key')",
            "AssertionError()",
            "StopIteration()",
            "NotImplementedError()",
            "SystemExit(0)",
            "KeyboardInterrupt()",
            "MemoryError()",
            "BrokenPipeError()",
        ),
        "reuses_buffer": (True, True),
        "random": ("numpy", "python", "space", "space"),
        "keeps": (
            "open(os.devnull)",
            "threading.Lock()",
            "iter(range(10**6)).__next__",
            "lambda: None",
            "(lambda counter=[0]: counter.append(0))",
            "(i for i in range(10))",
            "random.Random(3).random",
            "np.random.default_rng(3).random",
            "np.random.RandomState(3).rand",
            "gym.make('CartPole-v1')",
            "{1: {2, 3}, 'x': (4, [5])}",
            "np.zeros(3, 'O')",
        ),
        "render": ("none", "missing", "text"),
        "render_modes": ("[]", "None", "['human']"),
        "prints": (True,),
        "sleeps": (0.002,),
        "threads": (True,),
        "other_space": ("Box(-1, 1, (5,), np.float32)", "Discrete(9)"),
    }.items()
    for value in values
)


@st.composite
def strangers(draw: st.DrawFn) -> Stranger:
    """Draw a recipe with at most three misbehaviours."""
    fields: dict[str, Any] = {}
    # A space is odd, or the behaviour is: of both at once, only the space would be seen.
    if draw(st.booleans()):
        fields["observation"] = draw(observations)
    if draw(st.booleans()):
        fields["action"] = draw(actions)
    for misbehaviour in draw(st.lists(st.sampled_from(MISBEHAVIOURS), max_size=3)):
        fields |= misbehaviour
    for name in ("spoils", "raises"):
        if name in fields:
            fields[f"{name}_from"] = draw(st.sampled_from((0, 1, 2, 7, 30)))
    return Stranger(**fields)
