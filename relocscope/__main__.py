"""`python -m relocscope`: the command line, where the console script is not on the PATH."""

from relocscope.cli import main

if __name__ == "__main__":
    main()
