"""Pulumi's own engine: its CLI, found or made; stacks that it deploys; and what a deployment did, whoever did it."""
