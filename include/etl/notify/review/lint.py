"""Lint: what is wrong with a rendered message, as far as a program can tell."""

x = 1
