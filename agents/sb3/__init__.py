"""MaskablePPO of sb3-contrib around a GPTRec (extra ``sb3``)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
