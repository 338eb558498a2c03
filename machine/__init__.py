"""This machine: virtual environments beside the project's own, packages of Debian's, and where a command writes."""
