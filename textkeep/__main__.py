"""`python -m textkeep` is `textkeep`."""

from textkeep.service.cli import main

if __name__ == "__main__":
    main()
