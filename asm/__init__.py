"""From routine sources, kernel images and ELF files to bytes, symbols and decoded instructions."""
