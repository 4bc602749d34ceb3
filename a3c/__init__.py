"""The mathematics: segments, actor-critic networks, returns, and one file a paper. Knows no processes, files or environments."""
