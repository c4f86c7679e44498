"""Contract tests for authors of plugins: functions that raise where a contract is broken."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
