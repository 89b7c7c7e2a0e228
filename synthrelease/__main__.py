"""``python -m synthrelease``: the same as the command ``synthrelease``."""

from synthrelease.cli import main

if __name__ == "__main__":
    main()
