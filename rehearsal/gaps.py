"""What a rehearsal does not prove, as its report says it, each with the condition on which it can go.

`docs/gaps.md` has these and all other known gaps; `rehearsal.gaps_page` makes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.cli import BUILD

PAGE = "docs/gaps.md"


@dataclass(frozen=True)
class Gap:
    """One of them."""

    what: str
    goes_when: str


TLS = Gap(
    "TLS: the edge speaks plain HTTP; the listener's certificate is not exercised",
    "The edge speaks TLS with a certificate of a test authority, and the checks trust it.",
)
IAM = Gap(
    "IAM: the emulated account allows every call, also what the roles' policies would deny",
    "MiniStack holds calls to the policies of who asks. Until then tests hold the roles to recorded calls.",
)
NETWORK = Gap(
    "the network: security groups and subnets carry no traffic here, and private names come from a file",
    "Containers of tasks get addresses in networks that hold security groups. No emulator of today does.",
)
ALWAYS_UNPROVEN = (TLS, IAM, NETWORK)
"""Said by every report."""

WITHOUT_ENGINE = Gap(
    f"Pulumi's engine: the embedded driver stood in for it; {BUILD} has it made, for every run after it",
    "Pulumi's CLI can be had on every machine, from where packages come from. `rehearsal/driver.py` goes with it.",
)
OWN_PROVIDERS = Gap(
    "the official providers' own code: ./rehearse --providers official runs it, where the network has them",
    "The official providers can be had on every machine, and MiniStack stores all that they are given.",
)
OFFICIAL_PROVIDERS = Gap(
    "whether the emulator kept each property that it was given: this project's own providers read it back, "
    "the official ones need not",
    "MiniStack stores all that it is given.",
)
GOOGLE = Gap(
    "Google: a stand-in signs users in and answers the server's calls",
    "Never in a rehearsal, which asks nobody to sign in. `./ops accept` on the real account proves it.",
)
FINISHED_IMAGES = Gap(
    "an update with a changed image: every service uses a finished one",
    "A service builds its image.",
)
PINNED_IMAGES = Gap(
    "the image that {names} is pinned to: a new account has none of its images, so it was built here of its context",
    "The registry of the real account can be asked for it. A rehearsal asks no account.",
)
BASE_IMAGE = Gap(
    "base image {name}: could not be pulled, a Debian made here stood in for it",
    "The registry of the base image can be reached.",
)
SIMULATED = Gap(
    "the image, the containers, and what a client sees: simulated or not asked, because {reason}",
    "There is a Docker engine, which `CI=true` asks for.",
)

ALL = (
    *ALWAYS_UNPROVEN,
    WITHOUT_ENGINE,
    OWN_PROVIDERS,
    OFFICIAL_PROVIDERS,
    GOOGLE,
    FINISHED_IMAGES,
    PINNED_IMAGES,
    BASE_IMAGE,
    SIMULATED,
)
