// Ends the workspace when asked, and says what happens.
"use strict";
const stop = document.getElementById("stop");
if (stop) {
  stop.addEventListener("click", async () => {
    const status = document.getElementById("home-status");
    stop.disabled = true;
    status.textContent = "It is ending.";
    const answer = await fetch(stop.dataset.url, { method: "DELETE", headers: { "X-XSRFToken": stop.dataset.xsrf } });
    if (answer.ok) {
      window.setTimeout(() => window.location.reload(), 1500);
    } else {
      status.textContent = "It could not be ended now. Try again in a moment.";
      stop.disabled = false;
    }
  });
}
