"""`python -m relocscope` is the console script."""

from relocscope.cli import main

if __name__ == "__main__":
    main()
