"""Names that infrastructure, hub and services must agree on, and nothing else.

Standard library only, imports nothing of ours, holds no rule. The contract is what the outside relies on; this file is
what our own parts rely on. A name that stands here is written nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final

# --- namespaces -------------------------------------------------------------------------------------------------------
SYSTEM: Final = "rr-system"
QUARANTINE: Final = "rr-quarantine"
PROJECT_ID: Final = re.compile(r"[a-z][a-z0-9-]{1,18}[a-z0-9]")
HANDLE: Final = re.compile(r"r[a-z0-9]{7}")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
HOLDOUT: Final = "holdout"  # what the hold-out goes by where others go by their project
RESERVED_PROJECTS: Final = frozenset({HOLDOUT})


def hub_namespace(project: str) -> str:
    """The namespace of a project's hub, proxy, edge and gate."""
    return f"p-{project}-hub"


def workspace_namespace(project: str) -> str:
    """The namespace that holds a project's workspaces and nothing else."""
    return f"p-{project}-ws"


# --- labels -----------------------------------------------------------------------------------------------------------
LABEL_PROJECT: Final = "readingroom/project"
LABEL_ROLE: Final = "readingroom/role"
LABEL_STEP: Final = "readingroom/step"  # of a Job that is one of several: plan, work, finish
LABEL_SEAL: Final = "readingroom/seal"
LABEL_TIER: Final = "readingroom/tier"
LABEL_HANDLE: Final = "readingroom/handle"
LABEL_GRANT: Final = "readingroom/grant"
ADMISSION: Final = "admission"  # ConfigMap of a workspace namespace: what admission holds its pods to
ADMITTED: Final = "handles"  # key in it: who may have a workspace, parted by spaces
ADMITTED_CUT: Final = "cut"  # key in it: what is mounted at /data; empty when that was retired
SEAL_OPEN: Final = "open"
SEAL_CLOSED: Final = "closed"

# --- mounts of a workspace --------------------------------------------------------------------------------------------
MOUNT_DATA: Final = "/data"
MOUNT_HOME: Final = "/home/researcher"
MOUNT_OUTBOX: Final = "/outbox"
MANIFEST: Final = "MANIFEST.json"
WORKSPACE_UID: Final = 1000  # the researcher, in the workspace
STRANGER_UID: Final = 10002  # a researcher's code beside the hold-out, in no workspace
SERVICE_UID: Final = 10001  # every process of ours in a pod; group alike

# --- service accounts -------------------------------------------------------------------------------------------------
ACCOUNT_HUB: Final = "hub"
ACCOUNT_EDGE: Final = "edge"
ACCOUNT_GATE: Final = "gate"
ACCOUNT_WORKSPACE: Final = "workspace"
ACCOUNT_PORTAL: Final = "portal"
ACCOUNT_DATABASE: Final = "database"
ACCOUNT_VAULT: Final = "vault"
ACCOUNT_CONFIGURE_VAULT: Final = "configure-vault"
ACCOUNT_RECONCILER: Final = "reconciler"
ACCOUNT_DNS: Final = "dns"
ACCOUNT_INGEST: Final = "ingest"
ACCOUNT_DOOR: Final = "door"
ACCOUNT_ENROL: Final = "accounts"
ACCOUNT_EVALUATE: Final = "evaluate"  # runs submissions on the hold-out
ACCOUNT_HOLDOUT: Final = "holdout"  # splits landing, compares cuts; de-identifies nothing


def cut_account(project: str) -> str:
    """The account in `rr-quarantine` under which one project's subset is cut."""
    return f"cut-{project}"


def deid_account(project: str) -> str:
    """The account in `rr-quarantine` under which one project's de-identification runs."""
    return f"deid-{project}"


# --- services and ports -----------------------------------------------------------------------------------------------
PORT_VAULT: Final = 8200  # https, service `vault` in rr-system
PORT_DATABASE: Final = 5432  # TLS, service `database` in rr-system
PORT_PORTAL: Final = 8443  # https, service `portal` in rr-system
PORT_EDGE: Final = 8443  # https, service `edge` in p-<id>-hub
PORT_HUB_API: Final = 8081  # http, service `hub` in p-<id>-hub: proxy and gate only
PORT_PROXY: Final = 8000  # http, service `proxy` in p-<id>-hub: edge only
PORT_PROXY_API: Final = 8001  # http, service `proxy`: hub only
PORT_GATE: Final = 8082  # http, service `gate` in p-<id>-hub: the only address a workspace reaches
PORT_DOOR: Final = 2762  # DICOM over TLS (PS3.15 B.9), service `door` in rr-quarantine: hospitals only
PORT_UPLOADS: Final = 2763  # https, service `door`: `readingroom door send`
PORT_NOTEBOOK: Final = 8888  # http, in the workspace pod: proxy only
PORT_DNS: Final = 53
SERVICE_VAULT: Final = "vault"
SERVICE_DATABASE: Final = "database"
SERVICE_PORTAL: Final = "portal"
SERVICE_EDGE: Final = "edge"
SERVICE_HUB: Final = "hub"
SERVICE_PROXY: Final = "proxy"
SERVICE_GATE: Final = "gate"
SERVICE_DOOR: Final = "door"

# --- Vault ------------------------------------------------------------------------------------------------------------
VAULT_AUTH: Final = "rr-cluster"  # jwt login with the cluster's service-account keys
VAULT_AUDIENCE: Final = "rr-vault"
VAULT_KV: Final = "rr-kv"
VAULT_PSEUDONYM: Final = "rr-pseudonym"
VAULT_SIGN: Final = "rr-sign"
VAULT_ENVELOPE: Final = "rr-envelope"
VAULT_PKI_ROOT: Final = "rr-pki-root"
VAULT_PKI: Final = "rr-pki"
VAULT_TOKEN_PATH: Final = "/var/run/secrets/readingroom/vault-token"  # noqa: S105 (a path, not a token)
VAULT_CA_PATH: Final = "/etc/readingroom/vault-ca/ca.crt"  # ConfigMap `vault-ca`, in every namespace that asks Vault
PURPOSES: Final = ("patient", "uid", "date", "code", "centre")  # of key material: rr/deid/v1/<purpose>

# --- images -----------------------------------------------------------------------------------------------------------
IMAGE_REPOSITORY: Final = "rr.local"
IMAGES: Final = ("pause", "dns", "vault", "database", "services", "hub", "proxy", "edge", "workspace-cpu")


def image_reference(name: str, digest: str) -> str:
    """`rr.local/<name>@sha256:…`, the only form in which anything of ours names an image."""
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"not a digest: {digest!r}")
    return f"{IMAGE_REPOSITORY}/{name}@{digest}"


def cut_repository(project: str) -> str:
    """Image repository of a project's cuts."""
    return f"cut-{project}"


def cut_file(digest: str) -> str:
    """Name of the archive that holds the cut of that digest."""
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"not a digest: {digest!r}")
    return f"{digest.removeprefix('sha256:')}.tar"


SPLIT_MARK: Final = ".split.json"  # in landing: a hold-out is kept apart
HOLDOUT_LEDGER: Final = "holdout-ledger.json"  # in the hold-out's storage, from the first split on
CLEARED: Final = "cleared"  # volume: which cuts were compared with the hold-out


def clearance_file(digest: str) -> str:
    """What says of a cut that none of its images is in the hold-out; it says nothing else."""
    return f"{digest.removeprefix('sha256:')}.json"


RETIRED: Final = "retired.json"  # beside a project's cuts: a JSON list of the digests that are never mounted again


# --- where a browser goes ---------------------------------------------------------------------------------------------
FRONT_DOOR_PORT: Final = 8443  # on 127.0.0.1 of the node
PORTAL_HOST: Final = "portal.readingroom.localhost"
DOOR_HOST: Final = "door.readingroom.localhost"  # in the network door's certificate
WORKSPACE_DOMAIN: Final = "workspace.localhost"  # another registrable domain than the portal's


def project_host(project: str) -> str:
    """Host name of a project's hub and workspaces."""
    return f"{project}.{WORKSPACE_DOMAIN}"


# --- the embedded node ------------------------------------------------------------------------------------------------
NODE_NAME: Final = "reading-room"
NODE_ADDRESS: Final = "172.30.0.1"
POD_RANGE: Final = "10.244.0.0/24"
SERVICE_RANGE: Final = "10.96.0.0/16"
API_SERVICE_ADDRESS: Final = "10.96.0.1"
DNS_SERVICE_ADDRESS: Final = "10.96.0.10"
VAULT_SERVICE_ADDRESS: Final = "10.96.0.20"  # fixed: the keeper on the host asks it before any DNS answers
PORTAL_SERVICE_ADDRESS: Final = "10.96.0.21"
CLUSTER_DOMAIN: Final = "cluster.local"
SERVICE_ACCOUNT_ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
GROUP_DEPLOYER: Final = "readingroom:deployer"


def object_name(*parts: str, limit: int = 63) -> str:
    """One DNS label from its parts: joined by '-', cut with a hash when too long, so that two never collide.

    Raises `ValueError` if a part holds anything but lower-case letters, digits and '-'.
    """
    for part in parts:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", part):
            raise ValueError(f"not part of a Kubernetes name: {part!r}")
    name = "-".join(parts)
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name[: limit - 11].rstrip('-')}-{digest}"


# --- signing in -------------------------------------------------------------------------------------------------------
OIDC_ISSUER: Final = f"https://{PORTAL_HOST}:{FRONT_DOOR_PORT}"
OIDC_AUTHORIZE: Final = "/identity/o/authorize"  # under the issuer: the browser goes there
OIDC_TOKEN: Final = "/identity/o/api/token"  # noqa: S105 (a path); this and the next two under PORTAL_INSIDE: hubs go there
OIDC_USERINFO: Final = "/identity/o/api/userinfo"
OIDC_KEYS: Final = "/.well-known/jwks.json"
OIDC_SCOPES: Final = ("openid", "handle")
PORTAL_INSIDE: Final = f"https://{SERVICE_PORTAL}.{SYSTEM}.svc:{PORT_PORTAL}"
DATABASE_HOST: Final = f"{SERVICE_DATABASE}.{SYSTEM}.svc"
DATABASE_NAME: Final = "portal"  # database and role; a client certificate with this common name opens it


def hub_client(project: str) -> str:
    """The OIDC client of a project's hub."""
    return f"hub-{project}"


def hub_callback(project: str) -> str:
    """Where the portal sends a signed-in browser back to."""
    return f"https://{project_host(project)}:{FRONT_DOOR_PORT}/hub/oauth_callback"


def retired_digests(content: bytes) -> frozenset[str]:
    """What `retired.json` names. Raises `ValueError` for anything but a list of digests."""
    words = json.loads(content)
    if not isinstance(words, list) or not all(isinstance(word, str) and DIGEST.fullmatch(word) for word in words):
        raise ValueError("not a list of digests")
    return frozenset(words)
