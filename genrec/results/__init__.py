"""Typed results with a schema version: ``run.json``, ``plan.json``, ``metrics.jsonl``,
``comparison.json`` and what ``genrec evaluate --json`` prints.

These models are the only way to write and to read those files. A file of another schema version, or
with other content, is refused with one ``RunError``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
