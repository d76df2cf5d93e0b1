"""Rate limits that all workers share: one token bucket per key, in Redis."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import redis

from etl.settings import Endpoint

_TIMEOUT_SECONDS = 10
"""Wait for a connection, and for each answer: a server that hangs must not block a worker."""
_MICROSECOND = timedelta(microseconds=1)
_TLS_OPTIONS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_keyfile", "ssl_certfile", "ssl_check_hostname")

_TAKE_SCRIPT = """
-- Generic cell rate algorithm over several keys: take the calls from all of them, or from none.
-- KEYS: one per limit. ARGV: per key, the microseconds between two calls and the burst; then the number of calls to
-- take. Returns the microseconds to wait; 0 if the calls were taken.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local calls = tonumber(ARGV[2 * #KEYS + 1])
local wait = 0
local due = {}
for i, key in ipairs(KEYS) do
    local interval, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    due[i] = math.max(tonumber(redis.call('GET', key) or now), now) + interval * calls
    wait = math.max(wait, due[i] - now - interval * burst)
end
if wait > 0 then
    return math.ceil(wait)
end
for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.0f', due[i]), 'PX', math.ceil((due[i] - now) / 1000) + 1)
end
return 0
"""


@dataclass(frozen=True)
class Bucket:
    """One token bucket.

    Parameters
    ----------
    key
        Identifies it in Redis.
    interval
        Time between two calls.
    burst
        Calls that may be made at once after a pause.
    """

    key: str
    interval: timedelta
    burst: int


class Limiter:
    """Takes calls from several buckets at once.

    Parameters
    ----------
    server
        The Redis that all workers share.
    """

    def __init__(self, server: redis.Redis) -> None:
        self._take = server.register_script(_TAKE_SCRIPT)

    def take(self, buckets: Sequence[Bucket], *, calls: int = 1) -> timedelta:
        """Take calls from every bucket, or from none.

        Parameters
        ----------
        calls
            Number of calls; a bucket with a smaller burst never grants them.

        Returns
        -------
        timedelta
            Zero if the calls may be made now; else the time to wait before the next attempt.

        Source: Turner, "New directions in communications" (1986), virtual scheduling; the clock is that of Redis.
        """
        arguments: list[int] = []
        for bucket in buckets:
            arguments += [bucket.interval // _MICROSECOND, bucket.burst]
        arguments.append(calls)
        return int(self._take(keys=[bucket.key for bucket in buckets], args=arguments)) * _MICROSECOND


def connect(endpoint: Endpoint) -> Limiter:
    """Return the limiter of a Redis; a call fails if it does not answer within `_TIMEOUT_SECONDS`, after retries."""
    server = redis.Redis(
        host=endpoint.host,
        port=endpoint.port or 6379,
        username=endpoint.login or None,
        password=endpoint.password or None,
        db=int(endpoint.extra.get("db") or 0),
        socket_timeout=_TIMEOUT_SECONDS,
        **_tls_options(endpoint),
    )
    return Limiter(server)


def _tls_options(endpoint: Endpoint) -> dict[str, Any]:
    """Return the options for TLS, named as Airflow's Redis connections name them; none if it is off."""
    if str(endpoint.extra.get("ssl", "")).lower() not in ("true", "1"):
        return {}
    return {"ssl": True, **{name: endpoint.extra[name] for name in _TLS_OPTIONS if name in endpoint.extra}}
