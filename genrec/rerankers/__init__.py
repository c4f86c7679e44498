"""Re-rankers: functions that choose a list from a pool of candidates.

MMR, MSD, SOG, DPP, SSD, xQuAD, calibration of genres and a popularity penalty trade relevance
against one other property; greedy selection, lookahead and local search work on any reward.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
