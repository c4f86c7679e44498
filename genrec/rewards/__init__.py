"""Rewards: what each position of a list earns; each is also a metric and a re-ranking criterion."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
