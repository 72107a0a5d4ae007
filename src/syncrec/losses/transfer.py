"""How much each domain gains or suffers from the others, and what the training does about it (LC-NTG).

Source: model.md (M8)-(M10); Park et al. 2024, Fig. 2 (a). Departure: the gap is a mean over targets, not a sum, so that
domains of different size compare. With `transfer.gap = "validation"` phi is measured on held-out targets after each
epoch, and is lambda itself: on training targets a view that learns by heart looks like one that is helped. With
`transfer.weights = "harm"` a gain counts as no harm: by the softmax a domain that gains takes weight from the others.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from syncrec.config import TransferConfig

__all__ = ["TransferCorrection"]


class TransferCorrection(nn.Module):
    """Keeps the relative gap lambda of every domain (M9) as saved state and turns it into weights gamma (M10)."""

    relative_gap: Tensor
    is_alone: Tensor

    def __init__(self, is_alone: npt.NDArray[np.bool_], config: TransferConfig) -> None:
        """`is_alone`: which domains read themselves alone [D]: they have no cross loss, and no share in the weights."""
        super().__init__()
        self.config = config
        self.register_buffer("relative_gap", torch.zeros(len(is_alone)))
        self.register_buffer("is_alone", torch.as_tensor(is_alone), persistent=False)
        self._num_weighed = int(np.count_nonzero(~is_alone))

    @torch.no_grad()
    def update(self, gap: Tensor, is_present: Tensor) -> None:
        """lambda_d <- alpha lambda_d + beta phi(d) (M9), for the domains that are present in the batch.

        Args:
            gap: phi(d) of (M8), mean single loss minus mean cross loss, nats [D].
            is_present: bool [D]; the others keep their lambda.
        """
        moved = self.config.alpha * self.relative_gap + self.config.beta * gap
        self.relative_gap.copy_(torch.where(is_present, moved, self.relative_gap))

    @torch.no_grad()
    def take(self, gap: Tensor) -> None:
        """lambda_d <- phi(d), measured on targets that were not trained on [D]; nan where a domain has none."""
        self.relative_gap.copy_(torch.where(gap.isnan(), self.relative_gap, gap))

    def weights(self) -> Tensor:
        """D gamma_d (M10) [D], 0 for domains that read themselves alone; no gradient.

        The others have mean 1; with `transfer.weights = "harm"` each has 1, or less where it suffers (in 0..1); all
        have 1 if the correction is off.
        """
        if not self.config.correction or not self._num_weighed:
            return (~self.is_alone).to(self.relative_gap.dtype)
        gaps = (self.relative_gap / self.config.temperature).masked_fill(self.is_alone, -torch.inf)
        if self.config.weights == "harm":
            return gaps.clamp(max=0).exp()
        return self._num_weighed * gaps.softmax(0)
