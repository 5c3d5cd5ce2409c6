"""A tensor that brings importance weights into a loss that knows nothing of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

__all__ = ["Draw", "WeightedRewards"]

OnErrors = Callable[[Tensor], None]

_LOSSES = (functional.mse_loss, functional.smooth_l1_loss, functional.huber_loss, functional.l1_loss)


class Draw:
    """A batch that was sampled: its weights, and what its losses said about it.

    Args:
        weights: importance weights, float32 [B].
        on_errors: called with the mean of |input - target| over the losses so far, float32 [B], after each loss.
    """

    def __init__(self, weights: Tensor, on_errors: OnErrors) -> None:
        self.weights = weights
        self.losses = 0
        self._on_errors = on_errors
        self._sum: Tensor | None = None

    def loss(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        """Compute ``func(*args, **kwargs)`` with the weights in it, and note the errors.

        Returns:
            sum_j w_j l_j / n over the n entries of the loss (``reduction="mean"``), sum_j w_j l_j (``"sum"``) or
            w_j l_j (``"none"``).

        Raises:
            ValueError: the loss is not over this batch.
        """
        options = dict(kwargs)
        named = [options.pop(name) for name in ("input", "target")[len(args) :]]
        first, second = (_plain(value) for value in (*args, *named))
        count = len(self.weights)
        if first.ndim == 0 or first.shape != second.shape or len(first) != count:
            raise ValueError(
                f"{func.__name__}: input {tuple(first.shape)} and target {tuple(second.shape)} must have one shape, "
                f"with the {count} sampled transitions on its first axis, to be weighted"
            )
        reduction = options.pop("reduction", "mean")
        weights = self.weights.view(count, *[1] * (first.ndim - 1))
        losses: Tensor = func(first, second, **options, reduction="none") * weights
        self._note((first.detach() - second.detach()).abs().reshape(count, -1).mean(dim=1))
        if reduction == "none":
            return losses
        return losses.sum() if reduction == "sum" else losses.mean()

    def weighted_mean(self, losses: Tensor) -> Tensor:
        """Compute sum_j w_j l_j / B of losses that were computed otherwise, float [B]; |l_j| are taken as the errors.

        Raises:
            ValueError: there is not one loss for each transition.
        """
        losses = _plain(losses)
        if losses.shape != self.weights.shape:
            raise ValueError(
                f"losses has shape {tuple(losses.shape)}; must be ({len(self.weights)},): one of each transition"
            )
        self._note(losses.detach().abs())
        return (self.weights * losses).mean()

    def _note(self, errors: Tensor) -> None:
        self._sum = errors if self._sum is None else self._sum + errors
        self.losses += 1
        self._on_errors(self._sum / self.losses)


class WeightedRewards(Tensor):
    """Rewards of a batch; what is computed from them is one of these again, up to the loss, which gets the weights.

    A target r + gamma max Q' is computed from the rewards, and mse_loss, smooth_l1_loss, huber_loss or l1_loss of it is
    then computed by :meth:`Draw.loss`. So an algorithm whose code has no weights learns with them (Schaul et al. 2016).
    """

    _draw: Draw

    @staticmethod
    def of(rewards: Tensor, draw: Draw) -> WeightedRewards:
        """Share the memory of ``rewards``."""
        tensor = rewards.as_subclass(WeightedRewards)
        tensor._draw = draw
        return tensor

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Hand the draw on, or use it."""
        kwargs = kwargs or {}
        draw = next((d for d in (getattr(a, "_draw", None) for a in (*args, *kwargs.values())) if d is not None), None)
        if draw is not None and func in _LOSSES:
            return draw.loss(func, args, kwargs)
        result = super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        if draw is not None and isinstance(result, WeightedRewards):
            result._draw = draw
        return result


def _plain(value: Any) -> Tensor:
    tensor: Tensor = value.as_subclass(Tensor)
    return tensor
