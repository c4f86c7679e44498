"""GPTRec: a GPT-2 that writes recommendation lists item by item, with decoding and conditioning."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
