-- name: find
-- What a user named, by the id that the user has in the application.
select u.locale, u.time_zone
from core.users as u
where u.reference = %(reference)s;

-- name: save
-- What users named, for a batch of lines, each with what became of it. Of several lines about one user the last is right. Users whose values
-- are the same are not updated.
with given as (
    select g.line, g.reference, g.locale, g.time_zone
    from
        unnest(%(lines)s::int[], %(references)s::text[], %(locales)s::text[], %(time_zones)s::text[])
            as g (line, reference, locale, time_zone)
),
changed as (
    update core.users as u
    set
        locale = g.locale,
        time_zone = g.time_zone
    from (
        select distinct on (v.reference) v.reference, v.locale, v.time_zone
        from given as v
        order by v.reference, v.line desc
    ) as g
    where u.reference = g.reference and (u.locale, u.time_zone) is distinct from (g.locale, g.time_zone)
    returning u.reference
)
select
    g.line,
    u.user_id is not null as is_known,
    c.reference is not null as is_changed
from given as g
left join core.users as u using (reference)
left join changed as c using (reference)
order by g.line;
