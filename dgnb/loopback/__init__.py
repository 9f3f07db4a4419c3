"""A Deepgram-compatible server for one machine: no key, no network, a real WebSocket.

For notebooks without a key (`endpoint="offline"`), and for any program that talks to `/v1/listen` or `/v2/listen`:

```python
async with dgnb.loopback.serve(dgnb.loopback.Script("hello world")) as server:
    transcript = await dgnb.transcribe("speech.wav", endpoint=server.url)
```

It refuses what Deepgram refuses, with Deepgram's status and form. Its log explains a close reason such as `DATA-0000`.
The response header `dgnb-ignored` names the options that it can't honour, such as numerals. With `diarize` each word
has speaker 0. A `callback` is ignored by live streams and refused for recordings.

`POST /v1/listen` takes recordings: bytes, or a URL, which is fetched from public addresses alone. `/v1/auth/grant`
gives temporary tokens, and `/v1/models` lists the model that runs.
"""

from __future__ import annotations

from dgnb.loopback.engines.script import Script
from dgnb.loopback.server import LoopbackServer, serve
from dgnb.offline import radio_url

__all__ = ["LoopbackServer", "Script", "radio_url", "serve"]


def __dir__() -> list[str]:
    return __all__
