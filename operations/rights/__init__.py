"""Rights: what deployer and execution role lack in the account (`simulation`, for `./ops preflight`), and what the
pipeline's roles would refuse of recorded calls (`coverage`, for `./ops rights`)."""

from operations.rights.simulation import Rights, lacking, of_deployer, of_execution_role

__all__ = ["Rights", "lacking", "of_deployer", "of_execution_role"]
