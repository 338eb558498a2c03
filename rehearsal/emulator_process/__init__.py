"""MiniStack, made to do what AWS does where it does otherwise; it runs in a process, and with packages, of its own.

A module for each service of AWS, a function for each difference, with the condition on which it can go. None imports
more of the project than this package, because the interpreter has MiniStack's pinned dependencies and no others.
"""
