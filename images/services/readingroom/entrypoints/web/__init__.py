"""The portal: who somebody is. Pages made on the server, and the OIDC provider that each project's hub asks.

Login and second factor are django-allauth's; ours are the rules of `domain/people.py`, held by `gates.py` before any page.
Nothing here reads the environment: `settings.py` turns `PortalSettings` into what Django wants.
"""
