"""Redirects, where headers go, and what an app that others use may not ask or open."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from yarl import URL

from dgnb.audio import AudioSource, FileSource, URLSource, as_source
from dgnb.audio.url.fetch import shown
from dgnb.audio.url.policy import Policy, is_public
from dgnb.exceptions import AudioError, ConfigurationError

Serve = Callable[..., Awaitable[str]]

SECRET = "s3cret-canary"
PUBLIC = "127.0.0.2"
"""Stands for a public address: this machine, but not the canary's address."""


class Site:
    """A server on 127.0.0.2, which the policy is told to take for a public one, and a canary on 127.0.0.1."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.hits: list[str] = []
        self.port = self.canary = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.path, dict(request.headers)))
        page = self.pages.get(request.path, b"")
        if isinstance(page, str):
            return web.Response(status=302, headers={"Location": page})
        return web.Response(body=page, content_type="audio/x-mpegurl" if page.startswith(b"#") else "audio/mpeg")

    async def touch(self, request: web.Request) -> web.StreamResponse:
        self.hits.append(request.path)
        return web.Response(body=b"secret")

    def lookup(self, host: str, port: int, **kwargs: Any) -> list[Any]:
        """Names as a public resolver gives them."""
        known = {
            "radio.example": [[PUBLIC]],
            "inside.example": [["127.0.0.1"]],
            "both.example": [[PUBLIC, "127.0.0.1"]],
            "rebinding.example": [[PUBLIC], ["127.0.0.1"]],
        }
        answers = known.get(host)
        if answers is None:
            return socket.getaddrinfo(host, port, **kwargs)
        self.asked = getattr(self, "asked", {})
        turn = self.asked[host] = self.asked.get(host, -1) + 1
        found = answers[min(turn, len(answers) - 1)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def source(self, url: str, **options: Any) -> URLSource:
        found = URLSource(url.format(port=self.port, canary=self.canary), **options)
        found._policy = Policy(shared=True, allowed=frozenset({PUBLIC}), lookup=self.lookup)
        found._wait = lambda tries: 0.0
        return found


@pytest.fixture
async def site(sound: bytes) -> AsyncIterator[Site]:
    made = Site()
    made.pages["/a.wav"] = sound
    runners = []
    for host, handler in ((PUBLIC, made.handle), ("127.0.0.1", made.touch)):
        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, host, 0).start()
    made.port, made.canary = (runner.addresses[0][1] for runner in runners)
    yield made
    for runner in runners:
        await runner.cleanup()


@pytest.fixture(scope="module")
def sound(wav: Callable[..., bytes], tone: Callable[..., Any]) -> bytes:
    return wav(tone(1.0))


async def read(source: AudioSource) -> int:
    audio = await source.open()
    try:
        return sum([len(chunk) async for chunk in audio])
    finally:
        await audio.aclose()


# Redirects


async def test_headers_and_credentials_stay_with_the_server_they_were_meant_for(site: Site, web_server: Serve) -> None:
    seen: list[dict[str, str]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response(body=site.pages["/a.wav"])

    other = await web_server(elsewhere)
    site.pages["/here"] = "/away"
    site.pages["/away"] = f"{other}/a.wav"
    found = URLSource(
        f"http://user:{SECRET}@{PUBLIC}:{site.port}/here?key={SECRET}",
        headers={"X-Key": SECRET, "Cookie": f"a={SECRET}"},
    )
    assert await read(found) == 32_000
    for _, headers in site.seen:
        assert headers["Authorization"].startswith("Basic ")
        assert headers["X-Key"] == SECRET
    assert len(site.seen) == 2
    (headers,) = seen
    assert SECRET not in str(headers)
    assert "Authorization" not in headers


async def test_an_entry_of_a_playlist_elsewhere_gets_no_headers_either(site: Site, web_server: Serve) -> None:
    seen: list[dict[str, str]] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response(body=site.pages["/a.wav"])

    site.pages["/list"] = f"#EXTM3U\n{await web_server(elsewhere)}/a.wav\n".encode()
    await read(URLSource(f"http://user:{SECRET}@{PUBLIC}:{site.port}/list", headers={"X-Key": SECRET}))
    assert SECRET not in str(seen)
    assert "Authorization" not in seen[0]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("ftp://radio.example/a", "no http:// or https:// address"),
        (f"file://u:{SECRET}@/etc/passwd", "no http:// or https:// address"),
        ("concat:http://radio.example/a", "no http:// or https:// address"),
        ("http://[::1/a", "can't be read"),
        ("/round", "go round in a circle"),
    ],
)
async def test_a_redirect_that_leads_nowhere_raises_one_clear_error(site: Site, location: str, message: str) -> None:
    site.pages["/round"] = location
    with pytest.raises(AudioError, match=message) as caught:
        await URLSource(f"http://{PUBLIC}:{site.port}/round").open()
    assert SECRET not in str(caught.value)


def test_a_redirect_from_https_to_http_is_refused() -> None:
    from dgnb.audio.url.fetch import Fetcher

    fetcher = Fetcher("radio", URL("https://radio.example/"), {}, Policy(), 1.0)
    with pytest.raises(AudioError, match=r"from https to http://other\.example/a\?…, which is not encrypted"):
        fetcher._next(URL("https://radio.example/"), f"http://u:{SECRET}@other.example/a?k={SECRET}")
    upgraded = fetcher._next(URL("http://u:p@radio.example/"), "https://radio.example/b")
    assert (upgraded.user, upgraded.password) == ("u", "p")
    assert fetcher._next(URL("http://u:p@radio.example/"), "http://radio.example:81/b").user is None


def test_an_address_is_shown_without_its_secrets() -> None:
    assert shown(URL(f"http://u:{SECRET}@radio.example:81/a?k={SECRET}#x")) == "http://radio.example:81/a?…"
    assert SECRET not in shown(URL(f"file:///{SECRET}"))


# Shared: addresses

REFUSED = [
    "http://127.0.0.1:{canary}/",
    "http://127.0.0.1.:{canary}/",
    "http://127.1:{canary}/",
    "http://127.0.1:{canary}/",
    "http://0x7f.1:{canary}/",
    "http://0x7f000001:{canary}/",
    "http://0X7F.0.0.1:{canary}/",
    "http://0177.0.0.1:{canary}/",
    "http://017700000001:{canary}/",
    "http://2130706433:{canary}/",
    "http://2130706433.:{canary}/",
    "http://127.0.0.0x1:{canary}/",
    "http://0:{canary}/",
    "http://0.0.0.0:{canary}/",
    "http://[::]:{canary}/",
    "http://[::1]:{canary}/",
    "http://[0:0:0:0:0:0:0:1]:{canary}/",
    "http://[::ffff:127.0.0.1]:{canary}/",
    "http://[::ffff:7f00:1]:{canary}/",
    "http://[::127.0.0.1]:{canary}/",
    "http://[64:ff9b::127.0.0.1]:{canary}/",
    "http://[64:ff9b::a00:1]:{canary}/",
    "http://[2002:7f00:1::]:{canary}/",
    "http://[2002:a9fe:a9fe::1]/latest/meta-data",
    "http://[2001:0:7f00:1::1]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[100::1]/",
    "http://localhost:{canary}/",
    "http://LOCALHOST:{canary}/",
    "http://localhost.:{canary}/",
    "http://radio.localhost:{canary}/",
    "http://①②⑦.0.0.1:{canary}/",
    "http://127。0。0。1:{canary}/",
    "http://user:pass@127.0.0.1:{canary}/",
    "http://127.0.0.2@127.0.0.1:{canary}/",
    "http://radio.example@127.0.0.1:{canary}/a.wav",
    "http://10.0.0.1/",
    "http://10.255.255.255/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.64.0.1/",
    "http://100.100.100.200/latest/meta-data/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://224.0.0.1/",
    "http://239.255.255.250:1900/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "https://127.0.0.1:{canary}/",
]
OTHER = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/a",
    "gopher://127.0.0.1:{canary}/_x",
    "concat:http://127.0.0.1:{canary}/",
    "subfile,,start,0,end,9,,:/etc/passwd",
    "data:audio/wav;base64,AAAA",
    "http://127.0.0.1\\@radio.example:{canary}/",
    "http://",
    "//127.0.0.1:{canary}/",
]


@pytest.mark.parametrize("url", REFUSED + OTHER)
async def test_a_shared_app_asks_no_private_address(site: Site, url: str) -> None:
    with pytest.raises(ConfigurationError):
        URLSource(url.format(canary=site.canary), shared=True)
    if "://" in url:
        with pytest.raises(ConfigurationError):
            as_source(url.format(canary=site.canary), shared=True)
    assert not site.hits


@pytest.mark.parametrize("url", REFUSED)
async def test_no_redirect_leads_a_shared_app_to_a_private_address(site: Site, url: str) -> None:
    site.pages["/go"] = url.format(canary=site.canary)
    with pytest.raises(AudioError):
        await site.source("http://radio.example:{port}/go").open()
    assert [path for path, _ in site.seen] == ["/go"]
    assert not site.hits


@pytest.mark.parametrize("url", [*REFUSED, *OTHER[:6]])
async def test_no_playlist_leads_a_shared_app_to_a_private_address(
    site: Site, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The time until a segment is asked for again.
    monkeypatch.setattr("dgnb.audio.url.hls._SHORTEST_WAIT", 0.02)
    where = url.format(canary=site.canary)
    site.pages["/list"] = f"#EXTM3U\n{where}\n".encode()
    site.pages["/hls"] = f"#EXTM3U\n#EXT-X-TARGETDURATION:0\n#EXTINF:1,\n{where}\n#EXT-X-ENDLIST".encode()
    site.pages["/master"] = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{where}\n".encode()
    group = f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="{where}"\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\nhls\n'
    site.pages["/group"] = f"#EXTM3U\n{group}".encode()
    for tag, path in ((f'MAP:URI="{where}"', "/init"), (f'KEY:METHOD=AES-128,URI="{where}"', "/key")):
        lines = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-{tag}\n#EXTINF:1,\na.wav\n#EXT-X-ENDLIST"
        site.pages[path] = lines.encode()
    for path in ("/list", "/hls", "/master", "/group", "/init", "/key"):
        with pytest.raises(AudioError):
            await site.source("http://radio.example:{port}" + path).open()
    assert not site.hits


@pytest.mark.parametrize("host", ["inside.example", "both.example", "localtest.invalid"])
async def test_a_name_that_resolves_to_a_private_address_is_refused(site: Site, host: str) -> None:
    with pytest.raises(AudioError):
        await site.source(f"http://{host}:{{canary}}/").open()
    with pytest.raises(AudioError):
        await site.source(f"http://{host}:{{port}}/a.wav").open()
    assert not site.hits
    assert not site.seen


async def test_a_name_is_resolved_once_and_that_address_is_asked(site: Site) -> None:
    """Its second answer would be 127.0.0.1."""
    assert await read(site.source("http://rebinding.example:{port}/a.wav")) == 32_000
    assert site.asked["rebinding.example"] == 0
    with pytest.raises(AudioError, match="only public addresses are read here"):
        await site.source("http://rebinding.example:{canary}/a.wav").open()
    assert not site.hits


async def test_a_shared_app_reads_what_is_public_and_no_proxy_of_the_environment(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{site.canary}")
    site.pages["/go"] = "/list"
    site.pages["/list"] = b"#EXTM3U\na.wav\n"
    assert await read(site.source("http://radio.example:{port}/go")) == 32_000
    assert not site.hits


def test_a_shared_source_of_a_public_address_is_made() -> None:
    for url in ("http://8.8.8.8/a", "http://[2606:4700::1111]/a", "https://radio.example/a", "http://1.fm/a"):
        assert isinstance(as_source(url, shared=True), URLSource)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::808:808", True),
        ("2002:808:808::1", True),
        ("127.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("224.1.1.1", False),
        ("3fff::1", False),
        ("64:ff9b:1::1", False),
        ("fe80::1%eth0", False),
        ("no address", False),
        ("", False),
    ],
)
def test_public_means_global_unicast_also_inside_ipv6(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_every_public_address_is_global_for_the_standard_library() -> None:
    rng = np.random.default_rng(5)
    for number in rng.integers(0, 2**32, 2000):
        ip = ipaddress.IPv4Address(int(number))
        assert not is_public(str(ip)) or (ip.is_global and not ip.is_multicast)
        assert is_public(f"::ffff:{ip}") == is_public(str(ip))


# Shared: files


@pytest.fixture
def folder(tmp_path: Path, sound: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder, beside a secret file."""
    (tmp_path / "secret.wav").write_bytes(sound)
    root = tmp_path / "work"
    (root / "talks").mkdir(parents=True)
    (root / "talks" / "a.wav").write_bytes(sound)
    (root / "inside.wav").symlink_to("talks/a.wav")
    (root / "out.wav").symlink_to(tmp_path / "secret.wav")
    (root / "up").symlink_to(tmp_path, target_is_directory=True)
    (root / "zero").symlink_to("/dev/zero")
    os.mkfifo(root / "pipe")
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("name", ["talks/a.wav", "./talks/a.wav", "inside.wav", Path("talks") / "a.wav"])
async def test_a_shared_app_reads_files_of_its_folder(folder: Path, name: Any) -> None:
    assert await read(FileSource(name, shared=True)) == 32_000
    assert await read(as_source(name, shared=True)) == 32_000


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "talks/../../secret.wav",
        "talks/..",
        "..\\secret.wav",
        "/etc/passwd",
        "//etc/passwd",
        "/dev/zero",
        "C:\\secret.wav",
        "\\\\server\\share\\a.wav",
        "~/secret.wav",
        "~root/x",
        "a\0b",
        "talks/a.wav\0.txt",
    ],
)
def test_a_shared_path_that_leads_out_is_refused_before_any_file_is_touched(folder: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is refused"):
        FileSource(name, shared=True)
    with pytest.raises(ConfigurationError, match="is refused"):
        as_source(name, shared=True)
    with pytest.raises(ConfigurationError, match="is refused"):
        FileSource(folder / "talks" / "a.wav", shared=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.wav", "leads out of the working folder"),
        ("up/secret.wav", "leads out of the working folder"),
        ("zero", "leads out of the working folder"),
        ("pipe", "is not a regular file"),
        ("talks", "is a folder"),
        ("gone.wav", "There is no file"),
        ("x" * 300, "can't be opened"),
    ],
)
async def test_a_shared_path_is_opened_where_it_really_is(
    folder: Path, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(AudioError, match=message) as caught:
        await FileSource(name, shared=True).open()
    assert str(tmp_path) not in str(caught.value)


async def test_the_shared_folder_is_the_working_folder_at_the_making_of_the_source(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = FileSource("talks/a.wav", shared=True)
    monkeypatch.chdir(tmp_path)
    assert await read(found) == 32_000


def test_a_source_that_the_app_made_is_not_restricted(folder: Path) -> None:
    mine = FileSource("/etc/hostname")
    assert as_source(mine, shared=True) is mine
