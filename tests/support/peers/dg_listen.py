"""`dg listen` of deepctl, Deepgram's program for the command line, which asks for the projects first."""

import os
import subprocess
import sys
from pathlib import Path

http = os.environ["PEER_URL"].replace("ws", "http", 1)
program = [str(Path(sys.executable).with_name("dg")), "--base-url", http, "--api-key", "any", "--non-interactive", "-q"]
subprocess.run(
    [*program, "listen", "--encoding", "linear16", "--diarize", "-"],
    input=Path(os.environ["PEER_AUDIO"]).read_bytes(),
    env={**os.environ, "DEEPCTL_TELEMETRY_DISABLED": "1", "HOME": str(Path(sys.executable).parents[1])},
    timeout=40,
    check=True,
)
