"""What a project's hub does with the portal: asks through the browser, exchanges, refreshes, asks about a person."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from readingroom.contract import OIDC_AUTHORIZE, OIDC_TOKEN, OIDC_USERINFO, hub_callback, hub_client
from tests.portal import INSIDE, Answer, Site, Visitor


@dataclass
class Hub:
    """One project's hub, as oauthenticator speaks."""

    site: Site
    project: str = "demo"
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def question(self) -> dict[str, str]:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")
        return {
            "response_type": "code",
            "client_id": hub_client(self.project),
            "redirect_uri": hub_callback(self.project),
            "scope": "openid handle",
            "state": "st4te",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }

    def path(self, **changed: str) -> str:
        """Where the hub sends the browser; an empty value leaves the parameter out."""
        asked = {name: value for name, value in {**self.question, **changed}.items() if value}
        return f"{OIDC_AUTHORIZE}?{urlencode(asked)}"

    def code(self, visitor: Visitor) -> str:
        """A code for the person of this browser."""
        away = visitor.ask(self.path())
        assert away.status == 302, (away.status, away.heading)
        assert away.location.startswith(f"{hub_callback(self.project)}?"), away.location
        back = parse_qs(urlsplit(away.location).query)
        assert back["state"] == ["st4te"]
        return back["code"][0]

    def post(self, form: dict[str, str], **headers: str) -> Answer:
        """To the token page, from inside; an empty value leaves the parameter out."""
        sent = {name: value for name, value in form.items() if value}
        return self.site.visitor(INSIDE).ask(OIDC_TOKEN, sent, **headers)

    def exchange(self, code: str, **changed: str) -> Answer:
        """The code for tokens."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": hub_callback(self.project),
            "code_verifier": self.verifier,
            "client_id": hub_client(self.project),
            "client_secret": self.site.secrets[f"oidc-{self.project}"],
            "data": "None",  # oauthenticator sends this as well
        }
        return self.post({**form, **changed})

    def refresh(self, token: str, **changed: str) -> Answer:
        """A refresh token for new ones."""
        form = {
            "grant_type": "refresh_token",
            "refresh_token": token,
            "client_id": hub_client(self.project),
            "client_secret": self.site.secrets[f"oidc-{self.project}"],
        }
        return self.post({**form, **changed})

    def tokens(self, visitor: Visitor) -> dict[str, str]:
        """A whole login."""
        answer = self.exchange(self.code(visitor))
        assert answer.status == 200, answer.text
        found: dict[str, str] = answer.json
        return found

    def who(self, access_token: str) -> Answer:
        """The question about a person."""
        return self.site.visitor(INSIDE).ask(OIDC_USERINFO, Authorization=f"Bearer {access_token}")
