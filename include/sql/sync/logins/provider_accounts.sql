-- name: enrol
-- Insert a login at a bank, or make an enrolled one of the same user active, whatever its state; in both cases without the
-- access token, which `set_token` adds in the same transaction. The provider sends the history that it promised when the
-- login was linked first, so that stays. Returns no row if the login is enrolled for another user. The row of the user is
-- locked, so that logins of one user are enrolled and compared one after the other.
with owner as (
    insert into core.users as u (reference) values (%(user)s)
    on conflict (reference) do update set reference = excluded.reference
    returning u.user_id
)
insert into core.provider_accounts as p
(user_id, provider, item_id, access_token, history_days, institution_id, institution_name, linked_at)
select
    o.user_id,
    %(provider)s,
    %(item_id)s,
    '',
    %(history_days)s,
    %(institution_id)s,
    %(institution_name)s,
    clock_timestamp()
from owner as o
on conflict (provider, item_id) do update set
    access_token = excluded.access_token,
    token_version = p.token_version + 1,
    state = 'active',
    state_reason = null,
    state_since = case when p.state = 'active' then p.state_since else now() end,
    next_try_at = null,
    failed_tries = 0,
    replaced_by = null,
    linked_at = clock_timestamp(),
    compared_at = null,
    institution_id = coalesce(excluded.institution_id, p.institution_id),
    institution_name = coalesce(excluded.institution_name, p.institution_name)
where p.user_id = excluded.user_id
returning p.provider_account_id;

-- name: set_token
-- Store the access token of a login that was just enrolled.
update core.provider_accounts set access_token = %(access_token)s
where provider_account_id = %(provider_account_id)s;

-- name: set_institution
-- Record the bank of a login; what the provider does not tell stays as it is.
update core.provider_accounts set
    institution_id = coalesce(%(institution_id)s, institution_id),
    institution_name = coalesce(%(institution_name)s, institution_name)
where provider_account_id = %(provider_account_id)s;

-- name: set_consent
-- A login that is linked again has a new consent.
update core.provider_accounts set consent_expires_at = now() + %(lifetime)s
where provider_account_id = %(provider_account_id)s;

-- name: count_expiring_consents
-- Active logins whose consent is about to end.
select count(*) as logins, min(p.consent_expires_at) as first_at
from core.provider_accounts as p
where
    p.provider = %(provider)s
    and p.state = 'active'
    and p.consent_expires_at > now()
    and p.consent_expires_at <= now() + %(foretold)s;

-- name: end_consents
-- A login whose consent has ended needs a login. The provider may be tried all the same: a consent can be given again
-- without a new link. See `accept_stops` for the locks.
with ended as (
    select p.provider_account_id
    from core.provider_accounts as p
    where p.provider = %(provider)s and p.state = 'active' and p.consent_expires_at <= now()
    order by p.provider_account_id
    for no key update
)
update core.provider_accounts as p set
    state = 'needs_login',
    state_reason = 'CONSENT_EXPIRED',
    state_since = now(),
    next_try_at = now() + %(base)s * (1 + random()) / 2,
    failed_tries = 0
from ended as e
where p.provider_account_id = e.provider_account_id
returning p.provider_account_id;

-- name: set_history_days
-- Record what a person knows about the history that the provider promised.
update core.provider_accounts set history_days = %(history_days)s
where provider_account_id = %(provider_account_id)s;

-- name: page
-- The next provider accounts of a chunk that a run asks, each with the cursor of the feed.
select
    p.provider_account_id,
    p.access_token,
    coalesce(c.value, '') as cursor,
    coalesce(c.reread, false) as needs_full_read,
    coalesce(c.generation, 0) as generation,
    p.state,
    p.token_version,
    p.item_id
from core.due_logins as p
left join etl.cursors as c on c.provider_account_id = p.provider_account_id and c.feed = %(feed)s
where
    p.provider = %(provider)s
    and p.provider_account_id >= %(start)s
    and p.provider_account_id < %(stop)s
order by p.provider_account_id
limit %(limit)s;

-- name: accept_stops
-- Stop the logins that a run proposes to stop for some error codes. A login that has another token since, or another
-- state, keeps its state. Each proposal is settled once, so that a report that runs again stops no login that was
-- resumed since.
-- The rows are locked in the order of their ids, so that the reports of two runs cannot deadlock. The first try is
-- within the hour, as a user who was asked to log in often does so at once.
with proposals as (
    select l.chunk_id, l.attempt, l.provider_account_id, l.token_version, l.reason, l.left_out_at
    from etl.left_out as l
    inner join etl.chunks as c on c.chunk_id = l.chunk_id and c.attempts = l.attempt
    where
        c.entity = %(entity)s
        and c.run_id = %(run_id)s
        and c.withdrawn_at is null
        and l.outcome = 'stopped'
        and l.reason = any(%(reasons)s)
        and l.accepted is null
),
locked as (
    select p.provider_account_id
    from core.provider_accounts as p
    inner join proposals as o using (provider_account_id)
    order by p.provider_account_id
    for no key update of p
),
stopped as (
    update core.provider_accounts as p set
        state = 'needs_login',
        state_reason = o.reason,
        state_since = now(),
        next_try_at = now() + %(base)s * (1 + random()) / 2,
        failed_tries = 0
    from proposals as o
    inner join locked as k using (provider_account_id)
    where
        p.provider_account_id = o.provider_account_id
        and p.state = 'active'
        and p.token_version = o.token_version
        and p.state_since <= o.left_out_at
    returning p.provider_account_id
)
update etl.left_out as l set accepted = s.provider_account_id is not null
from proposals as o
left join stopped as s using (provider_account_id)
where
    l.chunk_id = o.chunk_id and l.attempt = o.attempt and l.provider_account_id = o.provider_account_id
returning l.provider_account_id, l.accepted;

-- name: reject_stops
-- Settle the proposals of a run to stop logins for some error codes: their logins stay as they are.
update etl.left_out as l set accepted = false
from etl.chunks as c
where
    c.chunk_id = l.chunk_id
    and c.attempts = l.attempt
    and c.entity = %(entity)s
    and c.run_id = %(run_id)s
    and c.withdrawn_at is null
    and l.outcome = 'stopped'
    and l.reason = any(%(reasons)s)
    and l.accepted is null;

-- name: put_off_tries
-- Double the wait before the next try of the logins that a run tried in vain. A try that another run has counted since
-- has moved the next one past it, and counts once. See `accept_stops` for the locks.
with failed as (
    select l.chunk_id, l.attempt, l.provider_account_id, l.token_version, l.reason, l.left_out_at
    from etl.left_out as l
    inner join etl.chunks as c on c.chunk_id = l.chunk_id and c.attempts = l.attempt
    where
        c.entity = %(entity)s
        and c.run_id = %(run_id)s
        and c.withdrawn_at is null
        and l.outcome = 'still_stopped'
        and l.accepted is null
),
locked as (
    select p.provider_account_id
    from core.provider_accounts as p
    inner join failed as f using (provider_account_id)
    order by p.provider_account_id
    for no key update of p
),
waiting as (
    update core.provider_accounts as p set
        state_reason = f.reason,
        failed_tries = p.failed_tries + 1,
        next_try_at = now()
            + least(%(base)s * power(2, least(p.failed_tries + 1, 20)), %(cap)s) * (1 + random()) / 2
    from failed as f
    inner join locked as k using (provider_account_id)
    where
        p.provider_account_id = f.provider_account_id
        and p.state = 'needs_login'
        and p.token_version = f.token_version
        and p.next_try_at <= f.left_out_at
    returning p.provider_account_id
)
update etl.left_out as l set accepted = w.provider_account_id is not null
from failed as f
left join waiting as w using (provider_account_id)
where
    l.chunk_id = f.chunk_id and l.attempt = f.attempt and l.provider_account_id = f.provider_account_id;

-- name: resume_after_success
-- The provider answers again for logins that needed one: their users have logged in. One that was suspended or unlinked
-- meanwhile stays so. See `accept_stops` for the locks.
with locked as (
    select p.provider_account_id
    from core.provider_accounts as p
    where p.provider_account_id = any(%(provider_account_ids)s) and p.state = 'needs_login'
    order by p.provider_account_id
    for no key update
)
update core.provider_accounts as p set
    state = 'active',
    state_reason = null,
    state_since = now(),
    next_try_at = null,
    failed_tries = 0
from locked as k
where p.provider_account_id = k.provider_account_id and p.state = 'needs_login';

-- name: resume
-- Make stopped logins active by hand; the next run asks them.
update core.provider_accounts set
    state = 'active',
    state_reason = null,
    state_since = now(),
    next_try_at = null,
    failed_tries = 0
where provider_account_id = any(%(provider_account_ids)s) and state in ('needs_login', 'suspended')
returning provider_account_id;

-- name: suspend
-- Stop logins by hand; no run asks them until a person resumes them, or their user links them again.
update core.provider_accounts set
    state = 'suspended',
    state_reason = %(reason)s,
    state_since = case when state = 'suspended' then state_since else now() end,
    next_try_at = null,
    failed_tries = 0
where provider_account_id = any(%(provider_account_ids)s) and state in ('active', 'needs_login', 'suspended')
returning provider_account_id;

-- name: require_login
-- Stop logins by hand as a run does: they are tried again, with growing waits, and resume by themselves.
update core.provider_accounts set
    state = 'needs_login',
    state_reason = %(reason)s,
    state_since = now(),
    next_try_at = now() + %(base)s * (1 + random()) / 2,
    failed_tries = 0
where provider_account_id = any(%(provider_account_ids)s) and state in ('active', 'suspended')
returning provider_account_id;

-- name: unlink
-- The provider has given up the access: delete the token, unless the login was linked again since it was read.
update core.provider_accounts set
    state = 'unlinked',
    state_reason = %(reason)s,
    state_since = now(),
    access_token = null,
    next_try_at = null,
    failed_tries = 0
where provider_account_id = %(provider_account_id)s and state <> 'unlinked' and token_version = %(token_version)s
returning provider_account_id;
