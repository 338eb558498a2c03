"""This machine: environments beside the project's own, Debian's packages, what is served, where a command writes."""
