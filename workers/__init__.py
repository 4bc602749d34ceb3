"""The processes of a training run, and the records that they leave."""
