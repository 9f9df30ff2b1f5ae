"""Wiring only: which settings, grant, authenticator and spawner this hub runs with. No rule stands here.

Read by `jupyterhub -f`, which provides `get_config`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hub_config
from hub_config import settings as hub_settings
from hub_config.authenticator import PortalAuthenticator
from hub_config.spawner import WorkspaceSpawner, options_form, options_from_form
from hub_config.start_page import start_page
from readingroom.adapters.clock import SystemClock
from readingroom.adapters.grant_file import MountedGrant
from readingroom.application.open_workspace import check_may_enter, open_workspace
from readingroom.contract import (
    OIDC_AUTHORIZE,
    OIDC_SCOPES,
    OIDC_TOKEN,
    OIDC_USERINFO,
    PORT_NOTEBOOK,
    hub_client,
    workspace_namespace,
)

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821 (JupyterHub puts it here)
here = Path(hub_config.__file__).parent
settings = hub_settings.load()
grants = MountedGrant(Path(settings.grant), Path(settings.grant_schema), settings.project)
clock = SystemClock()

c.JupyterHub.hub_bind_url = settings.listen
c.JupyterHub.hub_connect_url = settings.hub_url
c.JupyterHub.public_url = settings.public_url
c.JupyterHub.db_url = f"sqlite:///{settings.database}"  # a cache: grant and pods are the truth
c.JupyterHub.cookie_secret = bytes.fromhex(settings.secret("cookie_secret"))
c.JupyterHub.cookie_max_age_days = 0.5
c.JupyterHub.tornado_settings = {"cookie_options": {"Secure": True, "SameSite": "Lax"}, "slow_spawn_timeout": 0}
c.JupyterHub.cleanup_servers = False  # pods and routes survive this hub
c.JupyterHub.cleanup_proxy = False
c.JupyterHub.allow_named_servers = False
c.JupyterHub.authenticate_prometheus = True
c.JupyterHub.template_paths = [str(here / "templates")]
# The hub calls what stands here with the user it renders for, and hands the result to the template: a page for a person.
c.JupyterHub.template_vars = {"start_page": lambda _user: lambda person: start_page(grants.read(), person, clock.now())}
c.JupyterHub.default_url = "/hub/spawn"
c.JupyterHub.load_roles = [  # no token page, no sharing, nobody else's server, no report of one's own activity
    {"name": "user", "scopes": ["read:users!user", "servers!user", "access:servers!user"]},
    {"name": "server", "scopes": ["access:servers!server"]},
]
c.JupyterHub.activity_resolution = 60

c.JupyterHub.proxy_class = "configurable-http-proxy"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = settings.proxy_api_url
c.ConfigurableHTTPProxy.auth_token = settings.secret("proxy_token")
c.JupyterHub.last_activity_interval = 10  # routes are compared as often: a restarted proxy has none until then

c.CryptKeeper.keys = [bytes.fromhex(settings.secret("auth_state_key"))]
c.JupyterHub.authenticator_class = PortalAuthenticator
c.Authenticator.auto_login = True
c.Authenticator.enable_auth_state = True  # without it a refresh asks nobody
c.Authenticator.refresh_pre_spawn = True
c.Authenticator.auth_refresh_age = 60
c.Authenticator.auth_refresh_strict = True
c.Authenticator.manage_groups = True
c.PortalAuthenticator.group = f"{settings.project}:researcher"
c.PortalAuthenticator.allowed_groups = {f"{settings.project}:researcher"}
c.PortalAuthenticator.may_enter = lambda person: check_may_enter(grants, clock, person)
c.PortalAuthenticator.static_folder = str(here / "static")
c.PortalAuthenticator.client_id = hub_client(settings.project)
c.PortalAuthenticator.client_secret = settings.secret("client_secret")
c.PortalAuthenticator.oauth_callback_url = f"{settings.public_url.rstrip('/')}/hub/oauth_callback"
c.PortalAuthenticator.authorize_url = settings.portal_url + OIDC_AUTHORIZE
c.PortalAuthenticator.token_url = settings.portal_inside + OIDC_TOKEN
c.PortalAuthenticator.userdata_url = settings.portal_inside + OIDC_USERINFO
c.PortalAuthenticator.http_request_kwargs = {"ca_certs": settings.portal_ca, "request_timeout": 10}
c.PortalAuthenticator.scope = list(OIDC_SCOPES)
c.PortalAuthenticator.username_claim = "handle"
c.PortalAuthenticator.enable_pkce = True
c.PortalAuthenticator.login_service = "the Reading Room portal"

c.JupyterHub.spawner_class = WorkspaceSpawner
c.WorkspaceSpawner.settings = settings
c.WorkspaceSpawner.decide = lambda *asked: open_workspace(grants, clock, *asked)
c.WorkspaceSpawner.namespace = workspace_namespace(settings.project)
c.WorkspaceSpawner.component_label = "workspace"
c.WorkspaceSpawner.port = PORT_NOTEBOOK
c.WorkspaceSpawner.ip = "0.0.0.0"  # noqa: S104 (inside its own pod, where only the proxy may connect)
c.WorkspaceSpawner.default_url = "/lab/tree/00-start-here.ipynb"
c.WorkspaceSpawner.may_enter = lambda person: check_may_enter(grants, clock, person)
c.WorkspaceSpawner.options_form = options_form
c.WorkspaceSpawner.options_from_form = options_from_form
c.WorkspaceSpawner.storage_pvc_ensure = False  # claims are made with the membership, never by the hub
c.WorkspaceSpawner.events_enabled = False
c.WorkspaceSpawner.poll_interval = 5  # at the own copy of the pods: one that ended is not taken for running
c.WorkspaceSpawner.start_timeout = 120
c.WorkspaceSpawner.http_timeout = 30
c.WorkspaceSpawner.consecutive_failure_limit = 0  # nobody may end the hub by failing
c.WorkspaceSpawner.delete_stopped_pods = True
