"""The processes of a training run, and the records that they leave."""

__version__ = "0.1.0"
