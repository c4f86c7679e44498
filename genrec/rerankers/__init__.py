"""Re-rankers of a pool of candidates: MMR, SOG, DPP, popularity penalty, greedy selection and
local search on any reward."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
