"""The rehearsal: the same program, deployed into an emulated account on this machine."""
