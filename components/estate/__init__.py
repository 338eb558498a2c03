"""What exists already: looked up by name or id, all at once, before anything is created."""

from components.estate.findings import Ask, EstateError, Finding
from components.estate.found import Estate, FoundSecret
from components.estate.look_up import look_up
from components.estate.network import is_id

__all__ = ["Ask", "Estate", "EstateError", "Finding", "FoundSecret", "is_id", "look_up"]
