"""The pipeline's roles: one that only reads, for previews, and one that deploys, with nothing to spare.

Their rights follow from what the program declares: every resource that is registered is recorded, and a table says
for each type what the provider does with it. A type that the table does not know is an error, so that the two cannot
drift apart.

`rights/` are the tables, data alone; `statements` makes grants of them, `documents` policies of these, and `component`
the roles.
"""

from components.delivery.component import Delivery, DeliveryArgs, roles
from components.delivery.declared import Declared, recorded
from components.delivery.documents import OversizedPolicy, policies
from components.delivery.names import GITHUB, provider_arn, role_name
from components.delivery.statements import Grant, UnknownRights, grants

__all__ = [
    "GITHUB",
    "Declared",
    "Delivery",
    "DeliveryArgs",
    "Grant",
    "OversizedPolicy",
    "UnknownRights",
    "grants",
    "policies",
    "provider_arn",
    "recorded",
    "role_name",
    "roles",
]
