"""What tells, without a reference, how well a slice was segmented: how much several answers on it agree."""

from __future__ import annotations

# What is told of each structure on each slice, in this order.
SIGNALS: tuple[str, ...] = ()
