"""The state of environments as plain tensors and plain Python.

What environments hold is a graph of objects. A saved graph can be put into other environments that
were made in the same way; those then do exactly what the first ones would have done. Which names
mean one object, types, byte orders, read-only arrays and arrays that share memory are as they were,
among the environments of one batch, too. What can't be saved so is refused: `Unsaveable`. So is a
state that does not fit new environments, which then stay as they are: `DoesNotFit`.

Three things are taken from the new environments, because nothing changes them: functions and
classes, big arrays that are as they were when the environment was made, and mapped files. A
function that changes what it has captured is saved with that.

Out of scope is what belongs to the process: what modules hold, and the global generators `random`
and `numpy.random`, which `workers/resume.py` saves. An environment whose class's attributes have
changed since it was made is refused. The order of a set is that in which it is iterated at the
moment of saving; which elements it lost before is not known.
"""

from envs.state.kinds import Unsaveable
from envs.state.load import load_states
from envs.state.places import DoesNotFit
from envs.state.save import State, constants_of, save_states

__all__ = ["DoesNotFit", "State", "Unsaveable", "constants_of", "load_states", "save_states"]
