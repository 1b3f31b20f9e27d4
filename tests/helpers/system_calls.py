"""Watches the system calls of a program with strace: contacts over a network, and written files."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HAS_STRACE = shutil.which("strace") is not None
_CHANGES = (
    "creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,"
    "symlinkat,truncate,mknod,mknodat"
)
_LINE = re.compile(r"^\d+ +(\w+)\((.*)$")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_TMPFILE")
_ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')


@dataclass(frozen=True)
class SystemCalls:
    """What a program and its subprocesses did.

    Attributes:
        status: The exit status.
        output: The standard output and the standard error.
        sockets: The families of all sockets, such as "AF_INET".
        addresses: The IP addresses that data or connections went to.
        written: The paths of files and folders that were created, opened for writing or removed.
    """

    status: int
    output: str
    sockets: set[str]
    addresses: set[str]
    written: set[Path]


def watch(words: Sequence[str], folder: Path, environment: dict[str, str]) -> SystemCalls:
    """Run a program under strace.

    Args:
        words: The command line.
        folder: The working directory; the record is written beside it.
        environment: The environment variables.
    """
    record = folder.with_name(f"{folder.name}.strace")
    calls = f"trace=network,open,openat,{_CHANGES}"
    strace = ["strace", "-f", "--seccomp-bpf", "-s", "4096", "-o", str(record), "-e", calls]
    done = subprocess.run(
        [*strace, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    sockets: set[str] = set()
    addresses: set[str] = set()
    written: set[Path] = set()
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or " = -1 " in line:
            continue
        call, arguments = match.groups()
        if call == "socket":
            sockets.add(arguments.partition(",")[0])
        elif call in ("connect", "sendto", "sendmsg", "sendmmsg"):
            addresses.update(one or other for one, other in _ADDRESS.findall(arguments))
        elif call in _CHANGES.split(",") or (
            call in ("open", "openat") and _WRITING.search(_QUOTED.sub("", arguments))
        ):
            written.update(folder / os.fsdecode(path) for path in _QUOTED.findall(arguments))
    return SystemCalls(done.returncode, done.stdout + done.stderr, sockets, addresses, written)
