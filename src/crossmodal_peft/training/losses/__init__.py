"""One file per contrastive loss: `Settings` and `pair_loss(a, b, positives, settings, **scalars)`.

`Settings` extends `LossSettings`; its `scalars` are the numbers that the loss learns, by name, with their
starting values (CLIP's `logit_scale`, for example), and every key of it has a default. `pair_loss` compares
two modalities: `a` and `b` are their embeddings (batch, width) of unit length, `positives` (batch, batch)
says which rows of `a` and `b` belong together (the diagonal always does), and each scalar comes as a tensor
of no dimensions. It returns a scalar of their precision, does not change when `a` and `b` are swapped, and
bounds its scalars itself. Torch is imported inside: reading settings stays quick.

`training.contrastive.ContrastiveLoss` owns the scalars, makes `positives` from labels and averages over all
pairs of modalities. The checks in `contracts.losses` hold for every loss here.
"""
