"""Losses of training."""

from __future__ import annotations

import math
from typing import Any


def contrastive_loss(vectors: Any, labels: Any, temperature: float) -> Any:
    """Return the supervised contrastive loss of (n, d) vectors and their (n,) labels: Khosla et al. 2020, L_out.

    Every label stands at two rows or more.
    """
    import torch

    unit = torch.nn.functional.normalize(vectors.float(), dim=1)
    itself = torch.eye(len(labels), dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T / temperature).masked_fill(itself, -math.inf)
    log_share = (similarity - torch.logsumexp(similarity, dim=1, keepdim=True)).masked_fill(itself, 0.0)
    same = (labels[:, None] == labels[None, :]) & ~itself
    return -((log_share * same).sum(dim=1) / same.sum(dim=1)).mean()
