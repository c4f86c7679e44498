"""Reinforcement-learning environments of list generation: ``genrec/ListGeneration-v0``."""

import lazy_loader

from genrec.envs.registration import register as _register

# Importing this package is enough for ``gymnasium.make``.
_register()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
