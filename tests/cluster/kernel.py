"""A kernel in somebody's workspace, driven as the researcher's own browser drives it: by the edge, with their session.

Nothing here has a way in of its own: no `exec`, no token, no port of the pod.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Error, Page

_START = """async base => {
  const xsrf = document.cookie.split('; ').find(one => one.startsWith('_xsrf=')).slice(6);
  const answer = await fetch(base + 'api/kernels', {method: 'POST', headers: {'X-XSRFToken': xsrf}});
  if (!answer.ok) throw new Error('no kernel: ' + answer.status + ' ' + await answer.text());
  return (await answer.json()).id;
}"""
_RUN = """([base, id, code, seconds]) => new Promise((resolve, reject) => {
  const socket = new WebSocket('wss://' + location.host + base + 'api/kernels/' + id + '/channels');
  const message = crypto.randomUUID(), out = [], seen = [];
  const timer = setTimeout(() => { socket.close(); reject(new Error(
    'no end after ' + seconds + ' s: ' + out.join('') + ' (' + seen.join(' ') + ')')); }, 1000 * seconds);
  const header = {msg_id: message, msg_type: 'execute_request', username: '', session: message,
                  date: new Date().toISOString(), version: '5.3'};
  const content = {code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false, stop_on_error: true};
  socket.onerror = () => reject(new Error('the kernel cannot be reached'));
  socket.onclose = event => reject(new Error('the kernel is gone: ' + event.code + ' (' + seen.join(' ') + ')'));
  socket.onopen = () => { seen.push('open'); socket.send(JSON.stringify(
    {header, parent_header: {}, metadata: {}, content, channel: 'shell', buffers: []})); };
  socket.onmessage = event => {
    const got = JSON.parse(event.data);
    seen.push(got.channel + ':' + got.msg_type);
    if (got.parent_header.msg_id !== message) return;
    if (got.msg_type === 'stream') out.push(got.content.text);
    if (got.msg_type === 'error') out.push(got.content.ename + ': ' + got.content.evalue);
    if (got.msg_type === 'execute_reply') {
      // what it printed may still be on its way on the other channel
      setTimeout(() => { clearTimeout(timer); socket.close(); resolve([got.content.status, out.join('')]); }, 300);
    }
  };
})"""


class CellFailed(AssertionError):
    """The cell raised; the text says what."""


@dataclass(frozen=True)
class Kernel:
    """One kernel of the workspace whose page is open."""

    page: Page
    base: str  # /user/<handle>/
    id: str

    @classmethod
    def start(cls, page: Page, handle: str) -> Kernel:
        """A fresh one."""
        base = f"/user/{handle}/"
        for _ in range(3):
            try:
                return cls(page, base, str(page.evaluate(_START, base)))
            except Error as error:
                if "context was destroyed" not in str(error):
                    raise
                page.wait_for_load_state("load")  # the page was still on its way to the notebook
        raise CellFailed("the page never comes to rest")

    def run(self, code: str, seconds: float = 60) -> str:
        """What the cell printed. Raises `CellFailed` if it raised, with its last line."""
        status, text = self.page.evaluate(_RUN, [self.base, self.id, code, seconds])
        if status != "ok":
            raise CellFailed(text)
        return str(text)

    def ask(self, code: str, seconds: float = 60) -> Any:
        """The value of the JSON that the cell prints last."""
        return json.loads(self.run(code, seconds).strip().splitlines()[-1])
