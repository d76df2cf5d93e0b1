"""Rate limits that hold across workers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
import redis

from dev.stack.stack import Stack
from etl.clients import rate_limits
from etl.clients.rate_limits import Bucket, Limiter, Share
from etl.declare.provider import LimitScope, RateLimit
from etl.settings import Endpoint


def bucket(*, calls: int, per: timedelta, burst: int) -> Bucket:
    limit = RateLimit(LimitScope.CLIENT, calls=calls, per=per, burst=burst)
    return Bucket(f"test:{uuid4()}", limit.emission_interval, limit.burst)


def test_a_burst_is_granted_at_once_and_the_next_call_waits(limiter: Limiter) -> None:
    taken = bucket(calls=13, per=timedelta(minutes=10), burst=3)
    assert [limiter.take([taken]) for _ in range(3)] == [timedelta()] * 3
    assert timedelta(seconds=59) < limiter.take([taken]) <= timedelta(seconds=60)


def test_concurrent_workers_never_exceed_the_limit_in_any_span(stack: Stack) -> None:
    calls, per = 60, timedelta(seconds=1)
    shared = bucket(calls=calls, per=per, burst=20)
    granted: list[float] = []
    lock = threading.Lock()
    until = time.monotonic() + 2.5

    def work(_: int) -> None:
        own_limiter = rate_limits.connect(Endpoint.from_environment("limits", stack.environment))
        while time.monotonic() < until:
            before = time.monotonic()
            wait = own_limiter.take([shared])
            if not wait:
                with lock:
                    granted.append(before)
            time.sleep(min(wait.total_seconds(), 0.05))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    granted.sort()
    tightest = min(later - earlier for earlier, later in zip(granted, granted[calls:], strict=False))
    assert len(granted) > calls
    assert tightest > per.total_seconds() * 0.95


def test_a_call_is_taken_from_every_key_or_from_none(limiter: Limiter) -> None:
    client = bucket(calls=102, per=timedelta(minutes=10), burst=2)
    account = bucket(calls=101, per=timedelta(minutes=10), burst=1)
    assert not limiter.take([client, account])
    assert limiter.take([client, account])
    assert not limiter.take([client])
    assert limiter.take([client])


@pytest.mark.parametrize("exhausted", [0, 1, 2])
def test_a_call_waits_for_the_slowest_of_its_buckets_wherever_it_stands(limiter: Limiter, exhausted: int) -> None:
    buckets = [bucket(calls=13, per=timedelta(minutes=10), burst=3) for _ in range(3)]
    assert not limiter.take([buckets[exhausted]], calls=3)
    assert timedelta(seconds=59) < limiter.take(buckets) <= timedelta(minutes=1)
    others = [free for number, free in enumerate(buckets) if number != exhausted]
    assert not limiter.take(others, calls=3)


def test_full_bucket_is_deleted(limiter: Limiter, stack: Stack) -> None:
    taken = bucket(calls=100, per=timedelta(seconds=5), burst=1)
    limiter.take([taken])
    endpoint = Endpoint.from_environment("limits", stack.environment)
    server = redis.Redis(host=endpoint.host, port=endpoint.port, password=endpoint.password, db=endpoint.extra["db"])
    assert server.exists(taken.key) == 1
    time.sleep(0.1)
    assert server.exists(taken.key) == 0
    server.close()


@pytest.mark.parametrize("burst", [1, 7])
def test_burst_and_steady_calls_add_up_to_the_limit(burst: int) -> None:
    limit = RateLimit(LimitScope.ACCOUNT, calls=10, per=timedelta(minutes=1), burst=burst)
    assert burst + limit.per / limit.emission_interval == pytest.approx(10)


def test_limiter_uses_tls_if_its_connection_requires_it() -> None:
    for extra, kind in (({"ssl": True}, redis.SSLConnection), ({}, redis.Connection)):
        limiter_of_endpoint = rate_limits.connect(Endpoint("limits", extra=extra))
        client = limiter_of_endpoint._take.registered_client
        assert isinstance(client, redis.Redis)
        assert client.connection_pool.connection_class is kind


def test_several_calls_are_granted_together_or_not_at_all(limiter: Limiter) -> None:
    shared = bucket(calls=20, per=timedelta(minutes=10), burst=10)
    assert not limiter.take([shared], calls=6)
    assert limiter.take([shared], calls=6)
    assert not limiter.take([shared], calls=4)
    assert timedelta(minutes=5, seconds=50) < limiter.take([shared], calls=6) <= timedelta(minutes=6)


def test_members_of_a_group_share_its_highest_rate_until_one_leaves(limiter: Limiter) -> None:
    group, expiry = f"test:{uuid4()}", timedelta(seconds=0.3)
    assert limiter.share(group, "fast", 100, expiry=expiry) == Share(100, 100)
    slow = limiter.share(group, "slow", 50, expiry=expiry)
    fast = limiter.share(group, "fast", 100, expiry=expiry)
    assert (round(fast.rate, 3), round(slow.rate, 3)) == (66.667, 33.333)
    assert fast.group_rate == slow.group_rate == 100
    time.sleep(0.35)
    assert limiter.share(group, "slow", 50, expiry=expiry) == Share(50, 50)
