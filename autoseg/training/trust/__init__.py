"""What a model learns of its own limits, from patients whom it, or its fold's twin, never saw."""

from autoseg.training.trust.examine import Examined, examine, examine_cases
from autoseg.training.trust.learn import learn_trust
from autoseg.training.trust.offsets import with_offsets
from autoseg.training.trust.profile import learn_profile
