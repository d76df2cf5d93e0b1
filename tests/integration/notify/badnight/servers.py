"""The servers of a night: started for a fault, they say what they accepted, by delivery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from dev.servers.ports import LOOPBACK
from etl.clients.mail_server import MailServer
from etl.notify.channels.email import EmailConfig, EmailSender
from etl.notify.channels.fcm import FcmConfig, FcmSender
from etl.notify.channels.webpush import WebPushConfig, WebPushSender
from etl.notify.send import Senders
from tests.integration.notify.badnight.faults import DESTINATIONS, ILL_DESTINATION, Fault, mail_domain
from tests.integration.notify.badnight.short_times import REPLY_TIMEOUT
from tests.integration.notify.channels.faulty_smtp import FaultySmtp, SmtpFaults
from tests.integration.notify.channels.firebase import Firebase
from tests.integration.notify.channels.push_faults import PushFaults
from tests.integration.notify.channels.push_service import VAPID_KEY, PushService
from tests.integration.notify.channels.server_thread import run_in_thread


@dataclass(frozen=True)
class Servers:
    """The servers of one channel.

    Parameters
    ----------
    address_of
        User → their address on the channel.
    senders
        Opens new senders, as each task does.
    read_accepted
        Returns user and delivery id of each message that was accepted, also of those whose reply was lost.
    read_attempts
        Returns how many messages were begun, accepted or not.
    heal
        Lets the servers be healthy from now on.
    """

    address_of: Callable[[int], str]
    senders: Callable[[], Senders]
    read_accepted: Callable[[], Counter[tuple[int, int]]]
    read_attempts: Callable[[], int]
    heal: Callable[[], None]


@contextmanager
def start_servers(fault: Fault, seed: int) -> Iterator[Servers]:
    """Start the servers of a fault."""
    faults = replace(fault.faults, seed=seed)
    if isinstance(faults, SmtpFaults):
        with run_in_thread(FaultySmtp(faults)) as smtp:
            yield _mail_servers(smtp)
    elif fault.channel.name == "push":
        with run_in_thread(Firebase(faults=faults)) as firebase:
            yield _firebase(firebase)
    else:
        with ExitStack() as stack:
            services = [
                stack.enter_context(run_in_thread(PushService(host=f"127.0.0.{2 + number}")))
                for number in range(DESTINATIONS)
            ]
            services[ILL_DESTINATION].faults = faults
            yield _push_services(services)


def _mail_servers(smtp: FaultySmtp) -> Servers:
    def senders() -> Senders:
        extra = {
            "from_email": "Sluice <sluice@bank.example>",
            "disable_ssl": True,
            "disable_tls": True,
            "timeout": REPLY_TIMEOUT.total_seconds(),
        }
        server = MailServer.from_connection_without_recipients(
            host=LOOPBACK, port=smtp.port, login="", password="", extra=extra
        )
        return {"email": EmailSender(EmailConfig(server, reply_timeout=REPLY_TIMEOUT))}

    def accepted() -> Counter[tuple[int, int]]:
        # user7@d3.example, <delivery.12@bank.example>
        return Counter(
            (int(address.partition("@")[0].removeprefix("user")), int(message_id.partition("@")[0].split(".")[1]))
            for address, message_id in smtp.messages
        )

    def heal() -> None:
        smtp.faults = SmtpFaults()

    return Servers(
        lambda user: f"user{user}@{mail_domain(user % DESTINATIONS)}", senders, accepted, lambda: smtp.attempts, heal
    )


def _firebase(firebase: Firebase) -> Servers:
    config = FcmConfig.from_connection(
        host=firebase.url, port=None, login="", password="", extra={"keyfile_dict": firebase.keyfile()}
    )

    def accepted() -> Counter[tuple[int, int]]:
        return Counter(
            (_last_number(message["token"]), _last_number(message["data"]["tag"])) for message in firebase.messages
        )

    def heal() -> None:
        _heal(firebase.faults)

    return Servers(
        lambda user: f"phone-{user}",
        lambda: {"push": FcmSender(replace(config, timeout=REPLY_TIMEOUT))},
        accepted,
        lambda: firebase.attempts,
        heal,
    )


def _push_services(services: list[PushService]) -> Servers:
    config = WebPushConfig(
        VAPID_KEY,
        "mailto:push@bank.example",
        timeout=REPLY_TIMEOUT,
        first_timeout=REPLY_TIMEOUT,
        allow_any_endpoint=True,
    )

    def accepted() -> Counter[tuple[int, int]]:
        return Counter(
            (_last_number(push.browser), _last_number(push.text["tag"]))
            for service in services
            for push in service.received
        )

    def heal() -> None:
        _heal(services[ILL_DESTINATION].faults)

    return Servers(
        lambda user: services[user % DESTINATIONS].subscription(f"browser-{user}"),
        lambda: {"desktop": WebPushSender(config)},
        accepted,
        lambda: sum(service.attempts for service in services),
        heal,
    )


def _heal(faults: PushFaults | None) -> None:
    if faults is not None:
        faults.share = 0


def _last_number(text: str) -> int:
    return int(text.rpartition("-")[2])
