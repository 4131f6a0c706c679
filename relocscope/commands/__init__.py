"""One module a family of commands. They import the engines inside, so that --help stays quick."""
