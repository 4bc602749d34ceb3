"""The same numbers sooner. Without this folder everything still trains, only slower.

`network.py` records what acting computes and replays it to the backward pass. `tracing.py` and
`programs.py` repeat a traced gradient without the cost per call of Python and autograd. Nothing
here depends on an algorithm.
"""
