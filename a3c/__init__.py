"""The mathematics: segments, returns, losses, and one file per paper. Read this folder first.

Nothing here uses processes, files or environments. `networks/` is plain PyTorch. `fast/` computes
the same numbers sooner; everything trains without it.
"""
