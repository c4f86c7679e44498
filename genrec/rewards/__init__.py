"""Rewards: what each position of a list adds; also metrics and re-ranking criteria."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
