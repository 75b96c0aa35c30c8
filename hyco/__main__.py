"""`python -m hyco`: the same as the command `hyco`."""

from hyco.cli import main

if __name__ == "__main__":
    main()
