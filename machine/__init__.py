"""What is installed on this machine: virtual environments beside the project's own, and packages of Debian's."""
