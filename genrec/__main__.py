"""``python -m genrec``: the command line."""

from genrec.cli import app

if __name__ == "__main__":
    app()
