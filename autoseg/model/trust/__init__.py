"""How far a model can be trusted: what it learnt from, how well it does on a slice, how far areas are off."""

from autoseg.model.trust.calibration import Calibration, Errors, How
from autoseg.model.trust.light import Light, Suitability, worst
from autoseg.model.trust.profile import Profile
from autoseg.model.trust.quality import Quality
from autoseg.model.trust.trust import Trust, trust_from_dict, trust_to_dict
