-- Which addresses are one mailbox, what servers said against an address while a message was sent or afterwards, and why an
-- address was ended or revived.

create function notify.encode_label(label text) returns text
language plpgsql immutable parallel safe
as $$
-- Punycode (RFC 3492) of a label of a domain, with its prefix.
declare
    points int[];
    encoded text;
    total int := char_length(label);
    basic int;
    handled int;
    code int := 128;
    delta bigint := 0;
    bias int := 72;
    next_code int;
    point int;
    rest bigint;
    threshold int;
    step int;
begin
    if label = '' or octet_length(label) = total then
        return label;
    end if;
    select array_agg(ascii(p.letter) order by p.place), coalesce(string_agg(p.letter, '' order by p.place) filter (where ascii(p.letter) < 128), '')
    into points, encoded
    from regexp_split_to_table(label, '') with ordinality as p (letter, place);
    basic := char_length(encoded);
    handled := basic;
    if basic > 0 then
        encoded := encoded || '-';
    end if;
    while handled < total loop
        select min(p) into next_code from unnest(points) as p where p >= code;
        delta := delta + (next_code - code)::bigint * (handled + 1);
        code := next_code;
        foreach point in array points loop
            if point < code then
                delta := delta + 1;
            elsif point = code then
                rest := delta;
                step := 36;
                loop
                    threshold := least(greatest(step - bias, 1), 26);
                    exit when rest < threshold;
                    encoded := encoded || substr('abcdefghijklmnopqrstuvwxyz0123456789', (threshold + (rest - threshold) % (36 - threshold))::int + 1, 1);
                    rest := (rest - threshold) / (36 - threshold);
                    step := step + 36;
                end loop;
                encoded := encoded || substr('abcdefghijklmnopqrstuvwxyz0123456789', rest::int + 1, 1);
                delta := case when handled = basic then delta / 700 else delta / 2 end;
                delta := delta + delta / (handled + 1);
                bias := 0;
                while delta > 455 loop
                    delta := delta / 35;
                    bias := bias + 36;
                end loop;
                bias := bias + (36 * delta / (delta + 38))::int;
                delta := 0;
                handled := handled + 1;
            end if;
        end loop;
        delta := delta + 1;
        code := code + 1;
    end loop;
    return 'xn--' || encoded;
end
$$;

create function notify.encode_domain(domain text) returns text
language sql immutable parallel safe
return (
    select string_agg(notify.encode_label(l.label), '.' order by l.place)
    from
        string_to_table(
            -- What UTS 46 maps to nothing, and its other full stop; the rest is compatibility composition and lower case.
            translate(
                normalize(lower(normalize(left(domain, 255), nfkc)), nfkc),
                U&'\3002\00AD\034F\200B\2060\FEFF',
                '.'
            ),
            '.'
        ) with ordinality as l (label, place)
);
comment on function notify.encode_domain is 'A domain in ASCII and lower case, as `etl.mail_address` sends to it (UTS 46 for what it accepts).';

create function notify.mailbox(channel notify.channel, address text) returns text
language sql immutable parallel safe
return case
    when channel <> 'email' then address
    when octet_length(address) = char_length(address) then lower(address)
    else coalesce(lower(substring(address from '^.*@')), '') || notify.encode_domain(substring(address from '[^@]*$'))
end;
comment on function notify.mailbox is 'Two addresses are the same mailbox if this is equal: neither the case of an e-mail address matters, nor whether its domain is in Unicode or in ASCII. Other addresses are compared as they are.';

create function notify.destination(channel notify.channel, address text) returns text
language sql immutable parallel safe
return case channel
    when 'email' then substring(notify.mailbox(channel, address) from '[^@]*$')
    when 'desktop' then lower(coalesce(substring(address from '"endpoint"\s*:\s*"https?://([^"/:]+)'), ''))
    else ''
end;
comment on function notify.destination is 'Where the messages to an address go: its mail domain, or its push service; empty for the one service of the channel `push`.';

-- Suppressions that are one mailbox become one.
delete from notify.suppressions as s
using notify.suppressions as o
where
    s.channel = o.channel
    and notify.mailbox(s.channel, s.address) = notify.mailbox(o.channel, o.address)
    and (s.since, s.address) > (o.since, o.address);

update notify.suppressions as s
set address = notify.mailbox(s.channel, s.address)
where s.address <> notify.mailbox(s.channel, s.address);
comment on column notify.suppressions.address is 'As `notify.mailbox` returns it.';

-- Contacts are added by the application, one at a time, and wait for the seconds that this takes.
-- squawk-ignore require-concurrent-index-creation
create index contacts_mailbox on notify.contacts (notify.mailbox(channel, address));
comment on column notify.contacts.ended_at is 'Since when it is not used any more; notify.contact_events says why.';

create table notify.contact_events (
    event_id bigint generated always as identity primary key,
    contact_id bigint not null references notify.contacts on delete cascade,
    event text not null check (event in ('ended', 'revived')),
    reason text not null,
    actor text not null,
    happened_at timestamptz not null default now()
);
-- The tables are new.
-- squawk-ignore require-concurrent-index-creation
create index on notify.contact_events (contact_id);
comment on table notify.contact_events is 'Why addresses were ended and revived; rows are only added.';
comment on column notify.contact_events.actor is '`bounces`, or the person at the command line.';

insert into notify.contact_events (contact_id, event, reason, actor, happened_at)
select c.contact_id, 'ended', coalesce(c.ended_for, ''), 'bounces', c.ended_at
from notify.contacts as c
where c.ended_at is not null
order by c.contact_id;

create type notify.bounce_kind as enum ('hard', 'soft', 'policy', 'complaint');

create table notify.bounces (
    bounce_id bigint generated always as identity primary key,
    delivery_id bigint not null,
    run_id int not null,
    user_id bigint not null,
    contact_id bigint references notify.contacts on delete cascade,
    channel notify.channel not null,
    destination text not null,
    kind notify.bounce_kind not null,
    source text not null check (source in ('server', 'report')),
    status text not null default '',
    detail text not null default '',
    tried_at timestamptz not null,
    recorded_at timestamptz not null default now(),
    counts boolean,
    accepted_at timestamptz,
    accepted_by bigint,
    unique (delivery_id, kind)
);
-- squawk-ignore require-concurrent-index-creation
create index on notify.bounces (user_id);
-- squawk-ignore require-concurrent-index-creation
create index on notify.bounces (contact_id);
-- squawk-ignore require-concurrent-index-creation
create index on notify.bounces (run_id);
-- squawk-ignore require-concurrent-index-creation
create index on notify.bounces (tried_at);
-- squawk-ignore require-concurrent-index-creation
create index bounces_open on notify.bounces (bounce_id) where counts is null and kind in ('hard', 'soft');
comment on table notify.bounces is 'What was said against an address: by its server while a message was sent, or by a report that came later. One of a kind for each delivery.';
comment on column notify.bounces.kind is '`hard`: the address does not exist; `soft`: its mailbox takes nothing for now, or is not reached; `policy`: this message or sender was refused, which says nothing about the address; `complaint`: the recipient called it spam.';
comment on column notify.bounces.source is '`server`: the answer when it was sent; `report`: came after the server had accepted the message.';
comment on column notify.bounces.status is 'Enhanced status code, such as 5.1.1, or the error class of the delivery.';
comment on column notify.bounces.tried_at is 'When the delivery was claimed.';
comment on column notify.bounces.counts is 'Whether it counts against the address; false if its destination was not healthy in that hour, or a person revived the address. Null until the hour is judged.';
comment on column notify.bounces.accepted_at is 'When the address accepted a later message, that of the delivery accepted_by.';
