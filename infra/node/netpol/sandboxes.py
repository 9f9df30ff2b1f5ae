"""Who holds a pod address on this node, by the records of the CNI library: address to pod uid.

The API can be behind: after a crash it still shows the addresses of the pods as they were, and a new sandbox may
already have one of them. An address that the node gave to another pod than the API says is not classified, so a reused
address inherits nothing.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

from infra.node.netpol.model import Address

log = logging.getLogger("netpol")


@dataclass(frozen=True)
class Sandboxes:
    """The folder in which the CNI library keeps the result of each attachment (`cniCacheV1`)."""

    folder: Path

    def changed_at(self) -> int:
        """A number that differs when a record came or went; cheap enough to ask often."""
        try:
            return self.folder.stat().st_mtime_ns
        except OSError:
            return 0

    def holders(self) -> dict[Address, str]:
        """Address to pod uid. A record that cannot be read holds nothing, so its address stays closed."""
        found: dict[Address, str] = {}
        for path in sorted(self.folder.glob("*")):
            try:
                record = json.loads(path.read_text())
                uid = dict(record["cniArgs"])["K8S_POD_UID"]
                addresses = [ip_interface(entry["address"]).ip for entry in record["result"]["ips"]]
            except FileNotFoundError:
                continue  # gone since the folder was read
            except (OSError, KeyError, TypeError, ValueError) as error:
                log.debug("%s: no record of a pod (%s)", path.name, type(error).__name__)
                continue
            for address in addresses:
                # Two records for one address: a leftover and a new pod. Nobody can tell, so nobody has it.
                found[address] = "" if address in found and found[address] != uid else uid
        return found
