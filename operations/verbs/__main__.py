"""Print the table of verbs, for docs/operations.md."""

from operations.verbs import table

print(table())
