"""Every setting: its name, its values, where it was given, and the manual page made from it."""
