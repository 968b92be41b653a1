"""Pretrained encoders, the methods that adapt them, projections into a joint space, checkpoints."""
