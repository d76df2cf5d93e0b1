"""SimpleFIN: bank data of consumers, whom a server gives a URL with a password; SimpleFIN Bridge serves North America.

Sources: SimpleFIN Protocol, version 2 (simplefin.org/protocol.html; `protocol-v2.md` in
github.com/simplefin/simplefin.github.com), and the developer guide of SimpleFIN Bridge
(bridge.simplefin.org/info/developers): at most 24 requests a day for all accounts, of which each source here may make
half, and 90 days in each. What neither says is as other clients have found it: a longer range is capped, with an error
inside a 200 (firefly-iii/firefly-iii#12128), and a pending transaction gets another id when it is posted, without a
link (we-promise/sure#602).

One access URL is one login, with the accounts of all banks that its user has connected. An error of one of them is
inside a 200, and the others go on.
"""

from datetime import timedelta

from etl.declare.api.auth import AccessUrl
from etl.declare.api.part import Part
from etl.declare.api.quota import Quota
from etl.declare.api.request import Day, Epoch
from etl.declare.provider import AccessUrlClaim, ErrorAction, ErrorRule, Placeholder, Provider
from etl.declare.source import Recent, Snapshot

SIMPLEFIN = Provider(
    name="simplefin",
    connection="simplefin",
    auth=AccessUrl(),
    enrolment=AccessUrlClaim(),
    error_code="errlist[].code",
    errors=(
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            status=402,
            remedy="The subscriptions of these users at the SimpleFIN server have ended: let them renew these.",
        ),
        ErrorRule(
            ErrorAction.STOP_ACCOUNT,
            code="gen.auth",
            remedy="The access URLs are not valid any more, or the Airflow connection `simplefin` has another server's "
            "host. The server ends an access that its user disables, or that asks too often.",
        ),
        ErrorRule(ErrorAction.STOP_ACCOUNT, status=403),
        ErrorRule(ErrorAction.STOP_ACCOUNT, status=200, code="gen.auth"),
        ErrorRule(ErrorAction.INCOMPLETE, status=200, code="gen.*", detail="msg"),
        ErrorRule(
            ErrorAction.INCOMPLETE,
            status=200,
            code="con.*",
            detail="msg",
            part=Part(field="conn_id", column="connection_id"),
        ),
        ErrorRule(
            ErrorAction.INCOMPLETE,
            status=200,
            code="act.*",
            detail="msg",
            part=Part(field="account_id", column="account_id"),
        ),
    ),
)

ACCOUNTS_LIST = Snapshot(
    name="simplefin_accounts_list",
    path="/accounts",
    query={"version": 2, "balances-only": 1},
    upserts=("accounts[]",),
    max_records=2_000,
    quota=Quota(calls=12, per=timedelta(days=1)),
)

TRANSACTIONS_LIST = Recent(
    name="simplefin_transactions_list",
    path="/accounts",
    query={
        "version": 2,
        "pending": 1,
        "start-date": Day(Placeholder.FIRST_DAY, Epoch.SECONDS),
        "end-date": Day(Placeholder.DAY_AFTER_LAST, Epoch.SECONDS),
    },
    upserts=("accounts[].transactions[]",),
    days=30,
    first_days=90,
    days_per_request=90,
    dated_by="dated_on",
    pending="pending",
    account="account_id",
    quota=Quota(calls=12, per=timedelta(days=1)),
)
