"""Pretrained encoders, the methods that adapt them, projections into one space, checkpoints."""
