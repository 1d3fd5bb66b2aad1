"""nginx in the foreground, with a configuration and a prefix of its own: static files, one process."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from pcaptool.lab.programs.kinds import ServerProgram, answers
from pcaptool.scenario import Scenario, find_route, idle_ns, route_body

__all__ = ["NGINX", "configuration"]


def configuration(plan: Scenario) -> str:
    """The configuration for a scenario; paths in it are below the prefix.

    Examples
    --------
    >>> [line.strip() for line in configuration(Scenario()).splitlines() if "listen" in line]
    ['listen 192.0.2.1:80;']
    """
    server = plan.server
    address = f"[{plan.server_address}]" if plan.family == 6 else plan.server_address
    words = [f"{address}:{server.port}"]
    words += [f"sndbuf={server.sndbuf}"] if server.sndbuf else []
    words += [f"rcvbuf={server.rcvbuf}"] if server.rcvbuf else []
    switches = "\n".join(
        f"  {name} {'on' if getattr(server.nginx, name) else 'off'};"
        for name in ("sendfile", "tcp_nopush", "tcp_nodelay")
    )
    temporary = "\n".join(
        f"  {name}_temp_path temp-{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""user root;
daemon off;
master_process off;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  default_type text/plain;
{switches}
  keepalive_timeout {(idle_ns(server) or 75_000_000_000) // 1_000_000}ms;
{temporary}
  server {{
    listen {" ".join(words)};
    root www;
  }}
}}
"""


def _command(plan: Scenario, _scenario: Path, folder: Path) -> list[str]:
    changed_ns = plan.start_time_ns // 1_000_000_000 * 1_000_000_000  # Last-Modified and ETag are made of it
    for path in answers(plan):
        found = find_route(plan.server, path)
        if found is not None:
            file = folder / "www" / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(route_body(*found))
            os.utime(file, ns=(changed_ns, changed_ns))
    (folder / "nginx.conf").write_text(configuration(plan))
    return ["nginx", "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log"]


def _version() -> str:
    said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False, timeout=20)  # noqa: S607
    found = re.search(r"nginx/([0-9.]+)", said.stderr)
    return found[1] if found else ""


NGINX = ServerProgram(needs=("nginx",), command=_command, version=_version)
