"""The notebook server of a workspace: no kernel ports, and no question to anybody outside. `workspaces.md` sections 5 and 8."""

from __future__ import annotations

from typing import Any

c: Any = get_config()  # type: ignore[name-defined]  # noqa: F821 (Jupyter puts it here)

c.ServerApp.root_dir = "/home/researcher"
c.KernelManager.transport = "ipc"  # sockets in the pod's own folder: nothing to scan
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.news_url = None
c.LabApp.extension_manager = "readonly"  # all JavaScript is in the image
c.FileContentsManager.delete_to_trash = False  # a trash would count against the quota, unseen
