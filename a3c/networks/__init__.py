"""Actor-critic networks as plain PyTorch modules: bodies, recurrent cores, heads.

They use no segments, and can be moved to any device.
"""
