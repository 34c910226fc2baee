"""Why a training went well or badly, in plain words: the usual causes, matched to what is actually seen."""

from autoseg.evaluation.advice.causes import advice_text, advise
from autoseg.evaluation.advice.seen import Advice, Appraised, Drawn, counted, listed, smooth

__all__ = ["Advice", "Appraised", "Drawn", "advice_text", "advise", "counted", "listed", "smooth"]
