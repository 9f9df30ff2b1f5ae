"""Who may enter: the portal's word and the grant's, both fresh. What we change in OAuthenticator 17.4:

* The user name is the handle; a name that is none ends the login.
* Two keys: the group `<project>:researcher` in a fresh token **and** the handle in the grant. Either missing: refused.
* A refresh applies the same rule again. The stock one updates groups and lets everybody stay.
* Nobody is an administrator, nobody is let in for having been here before.
"""

from __future__ import annotations

from typing import Any

from oauthenticator.generic import GenericOAuthenticator
from tornado import web
from traitlets import Callable, Unicode

from readingroom.contract import HANDLE
from readingroom.domain.grant import NotOpened


class PortalAuthenticator(GenericOAuthenticator):  # type: ignore[misc]  # the library has no types
    """Login by the portal, with the grant as the second key."""

    may_enter = Callable(help="Given a handle, raises NotOpened unless the grant covers it now.").tag(config=True)
    group = Unicode(help="The one group of the portal that opens this project.").tag(config=True)
    static_folder = Unicode(help="Our own style sheet and scripts.").tag(config=True)

    def get_handlers(self, app: Any) -> list[Any]:
        """The login's own pages, and our static files."""
        files = (r"/reading-room/(.*)", web.StaticFileHandler, {"path": self.static_folder})
        return [*super().get_handlers(app), files]

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None) -> bool:
        """Both keys, or a page that says which one is missing and who can change it.

        Raises 403 with the code of the refusal.
        """
        if auth_model is None or not HANDLE.fullmatch(username):
            raise _refusal("W01: the portal sent no handle for this project. Ask the operator.")
        if not self.group or self.group not in (auth_model.get("groups") or ()):
            raise _refusal("W01: you are not a researcher of this project. Ask the project lead to add you.")
        try:
            self.may_enter(username)
        except NotOpened as refused:
            self.log.warning("%s may not enter: %s", username, refused)
            raise _refusal(sentence(refused)) from refused
        return True

    async def refresh_user(self, user: Any, handler: Any = None, **arguments: Any) -> dict[str, Any] | bool:
        """The stock refresh, and then the same rule as at login: whom it no longer allows must log in again, and
        cannot.

        Called before each spawn, and for any request when the last answer is older than 60 s.
        """
        if handler is not None:
            # JupyterHub 6.1 reads this mark when a refresh is refused, and has only set it for tokens.
            vars(handler).setdefault("_token_authenticated", False)
        fresh = await super().refresh_user(user, handler, **arguments)
        if not isinstance(fresh, dict):  # True would mean that nobody was asked, which is no answer here
            return False
        if fresh.get("name") != user.name:
            self.log.error("the portal answered about somebody else than %s", user.name)
            return False
        try:
            await self.check_allowed(user.name, fresh)
        except web.HTTPError as refused:
            self.log.warning("%s is not refreshed: %s", user.name, refused)
            return False
        return {**fresh, "admin": False}

    async def is_admin(self, handler: Any, authentication: dict[str, Any]) -> bool:
        """Nobody is: the built-in administrator may enter other people's servers."""
        return False


def sentence(refused: NotOpened) -> str:
    """What a person reads: the code, why, and who can change it."""
    return f"{refused.code.value}: {refused.why}. {refused.next_step[0].upper()}{refused.next_step[1:]}."


def _refusal(text: str) -> web.HTTPError:
    return web.HTTPError(403, "%s", text)
