"""."""

app = None
