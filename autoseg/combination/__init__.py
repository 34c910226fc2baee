"""Two models along one volume: a cervico-thoracic one above, a lumbosacral one below, for instance."""

from autoseg.combination.join import Join, heights_mm, plan_join
from autoseg.combination.models import Combination, Jump, combine

__all__ = ["Combination", "Join", "Jump", "combine", "heights_mm", "plan_join"]
