"""Parameters, optimizers and exchanges in shared memory.

All processes move the same parameters and the same statistics of optimizers. Nothing here depends
on reinforcement learning.
"""
