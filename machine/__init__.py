"""This machine: environments beside the project's own, packages of Debian's, what is served, and where a command writes."""
