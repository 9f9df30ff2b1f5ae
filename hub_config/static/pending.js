// Follows the start of a workspace: shows each step as text, opens the notebook when it is ready, reloads when it failed.
"use strict";
sessionStorage.removeItem("looked"); // see again.js
const source = new EventSource(document.currentScript.dataset.progress);
const step = document.getElementById("progress-message");
const bar = document.getElementById("progress-bar");
source.onmessage = (event) => {
  const news = JSON.parse(event.data);
  if (news.progress !== undefined) bar.value = news.progress;
  if (news.message !== undefined && !news.ready && !news.failed) step.textContent = news.message;
  if (news.ready || news.failed) {
    source.close();
    window.location.reload();
  }
};
