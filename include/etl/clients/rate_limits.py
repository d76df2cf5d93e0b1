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

_SHARE_SCRIPT = """
-- Record the rate that a member of a group wants, and return the sum and the maximum of those wanted lately.
-- KEYS: the group. ARGV: the member, its rate, and after how many microseconds without a call a member has left.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(ARGV[3] / 1000))
local sum, maximum = 0, 0
local members = redis.call('HGETALL', KEYS[1])
for i = 1, #members, 2 do
    local rate, seen_at = string.match(members[i + 1], '(%S+) (%S+)')
    if now - tonumber(seen_at) > tonumber(ARGV[3]) then
        redis.call('HDEL', KEYS[1], members[i])
    else
        sum, maximum = sum + tonumber(rate), math.max(maximum, tonumber(rate))
    end
end
return {string.format('%.17g', sum), string.format('%.17g', maximum)}
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


@dataclass(frozen=True)
class Share:
    """A member's part of the rate of a group, whose members share the highest rate that any of them wants.

    Parameters
    ----------
    rate
        Calls a second of this member: its part of `group_rate`, in proportion to what each wants.
    group_rate
        Calls a second of all members.
    """

    rate: float
    group_rate: float


class Limiter:
    """Takes calls from several buckets at once, and divides the rate of a group.

    Parameters
    ----------
    server
        The Redis that all workers share.
    """

    def __init__(self, server: redis.Redis) -> None:
        self._take = server.register_script(_TAKE_SCRIPT)
        self._share = server.register_script(_SHARE_SCRIPT)

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

    def share(self, group: str, member: str, wanted: float, *, expiry: timedelta) -> Share:
        """Return a member's share of the rate of a group, and record that it wants one.

        Parameters
        ----------
        group
            Identifies the group in Redis.
        wanted
            Calls a second that the member would make alone.
        expiry
            Time without a call after which a member no longer counts.
        """
        values = self._share(keys=[group], args=[member, repr(wanted), expiry // _MICROSECOND])
        total, highest = (float(value) for value in values)
        return Share(wanted * highest / total, highest)


def connect(endpoint: Endpoint) -> Limiter:
    """Return the limiter of a Redis; a call fails if it does not answer within `_TIMEOUT_SECONDS`, after retries."""
    return Limiter(open_server(endpoint))


def open_server(endpoint: Endpoint) -> redis.Redis:
    """Return a client of a Redis that all workers share, which it connects at its first call."""
    return redis.Redis(
        host=endpoint.host,
        port=endpoint.port or 6379,
        username=endpoint.login or None,
        password=endpoint.password or None,
        db=int(endpoint.extra.get("db") or 0),
        socket_timeout=_TIMEOUT_SECONDS,
        **_tls_options(endpoint),
    )


def _tls_options(endpoint: Endpoint) -> dict[str, Any]:
    """Return the options for TLS, named as Airflow's Redis connections name them; none if it is off."""
    if str(endpoint.extra.get("ssl", "")).lower() not in ("true", "1"):
        return {}
    return {"ssl": True, **{name: endpoint.extra[name] for name in _TLS_OPTIONS if name in endpoint.extra}}
