"""One file per tuning method: `Settings` and `attach(encoder, layers, settings)`.

`attach` inserts modules into the encoder's layers of the given range, or marks the encoder's own, so that
exactly what trains requires gradients. It imports torch inside: reading settings stays quick. What it may do
beyond that stands in the attributes of `Encoder`. `UNFIT`, if it has it, says why which families are refused.
"""
