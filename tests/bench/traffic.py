"""A capture of real traffic: nginx and wrk in two network namespaces of our own, taken by tcpdump.

Bodies of 200 bytes to 500 kB, 32 connections at a time, 40 requests each; offloads off, so that packets are what a wire
carries. Needs root, nginx and wrk (`real_traffic` says whether they are there); packets that tcpdump could not keep up
with are missing, as in any real capture.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from pcaptool.lab.namespaces import namespaces

SERVER, CLIENT, DEVICES = "192.0.2.1", "192.0.2.2", ("bench0", "bench1")
BODIES = (200, 1_000, 1_000, 3_000, 3_000, 8_000, 8_000, 20_000, 20_000, 60_000, 150_000, 500_000)
OFFLOADS = ("tso", "gso", "gro", "tx", "rx", "sg")
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; keepalive_requests 40; default_type text/plain;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen {server}:80; root {folder}/www; }}
}}
"""
WRK = """
local paths = {{ {paths} }}
request = function() return wrk.format("GET", paths[math.random(#paths)]) end
"""


def real_traffic() -> bool:
    """Whether real traffic can be made here."""
    programs = ("ip", "ethtool", "nginx", "wrk", "tcpdump")
    return os.geteuid() == 0 and all(shutil.which(name) for name in programs)


def capture_traffic(path: Path, packets: int, snaplen: int, timeout_s: float = 600) -> None:
    """Write so many packets."""
    folder = path.parent / "nginx"
    www = folder / "www"
    www.mkdir(parents=True)
    for folder_above in (folder, www):
        folder_above.chmod(0o755)
    for size in set(BODIES):
        (www / str(size)).write_bytes(bytes(33 + k % 90 for k in range(size)))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, server=SERVER))
    paths = ", ".join(f'"/{size}"' for size in BODIES)
    (folder / "mix.lua").write_text(WRK.format(paths=paths))
    try:
        _converse(path, folder, packets, snaplen, timeout_s)
    finally:
        shutil.rmtree(folder)


def _converse(path: Path, folder: Path, packets: int, snaplen: int, timeout_s: float) -> None:
    with namespaces() as (server, client):
        one, other = DEVICES
        server.ip("link", "add", one, "type", "veth", "peer", "name", other, "netns", client.name)
        for host, device, address in ((server, one, SERVER), (client, other, CLIENT)):
            host.ip("addr", "add", f"{address}/24", "dev", device)
            host.ip("link", "set", device, "up")
            for offload in OFFLOADS:
                host.run("ethtool", "-K", device, offload, "off", check=False)
        server.spawn(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
        words = ["tcpdump", "-i", other, "-nn", "-B", "65536", "-s", str(snaplen), "-c", str(packets)]
        tap = client.spawn([*words, "--time-stamp-precision=nano", "-w", str(path)])
        time.sleep(1)  # both listen
        duration = f"-d{round(timeout_s)}s"
        load = ["wrk", "-t1", "-c32", duration, "-s", str(folder / "mix.lua"), f"http://{SERVER}/"]
        client.spawn(load)
        tap.wait(timeout_s)
