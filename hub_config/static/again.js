// JupyterHub redirects here a second after somebody asked for a workspace, and says "not running" while the portal is still
// being asked about the person. Where a start was just asked for, it is looked for again, at most fifteen times.
"use strict";
const looked = Number(sessionStorage.getItem("looked") || 0);
if (window.location.pathname.includes("/spawn-pending/") && looked < 15) {
  sessionStorage.setItem("looked", String(looked + 1));
  window.setTimeout(() => window.location.reload(), 1000);
} else {
  sessionStorage.removeItem("looked");
}
