-- The senders of one queue: who sends, and who waits for a slot.
-- KEYS: the hash of the queue, sender → its record. ARGV: the operation, the sender (`run/number`), and its arguments as JSON.
-- A record: `sends`; `since` when it has sent or waited, `due` from when on it wants a slot, `seen` when it last looked, `called` when a
-- sender left its slot for it, and `calls`, how often; `looks`, how often in a row it came back and did not send. Times are milliseconds by the clock of Redis, or by that of
-- the caller if it passes `now`.
local operation, me, with = ARGV[1], ARGV[2], cjson.decode(ARGV[3])
local clock = redis.call('TIME')
local now = with.now or clock[1] * 1000 + math.floor(clock[2] / 1000)

local function run_of(sender)
    return string.match(sender, '^(.*)/')
end

local function save(sender, record)
    redis.call('HSET', KEYS[1], sender, cjson.encode(record))
end

-- Read all records. A sender that was silent for too long was killed, and waits; one that never came when called is forgotten.
local senders, sending = {}, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    local sender, record = fields[i], cjson.decode(fields[i + 1])
    if record.sends and now - record.seen > with.silence then
        record = {sends = false, since = record.seen, due = record.seen, called = 0, calls = 0}
    end
    if record.called and record.called > 0 and now - record.called > with.silence then
        record.called = 0
    end
    if not record.sends and record.calls >= with.max_calls and record.called == 0 then
        redis.call('HDEL', KEYS[1], sender)
    else
        senders[sender] = record
        local run = run_of(sender)
        if record.sends or record.called > 0 then
            sending[run] = (sending[run] or 0) + 1
        end
    end
end
redis.call('PEXPIRE', KEYS[1], 24 * 3600 * 1000)

local function count_of(run)
    return sending[run] or 0
end

-- Return the senders of other runs that wait for a slot and were not called, and how many runs those are.
local function waiting(stopped)
    local others = {}
    for sender, record in pairs(senders) do
        local run = run_of(sender)
        if run ~= run_of(me) and not record.sends and record.called == 0 and record.due <= now and not stopped[run] then
            others[#others + 1] = {name = sender, run = run, since = record.since, count = count_of(run)}
        end
    end
    table.sort(others, function(a, b)
        if a.count ~= b.count then return a.count < b.count end
        if a.since ~= b.since then return a.since < b.since end
        return a.name < b.name
    end)
    return others
end

-- Leave a slot for a sender.
local function call(sender)
    local record = senders[sender]
    record.called, record.calls = now, record.calls + 1
    save(sender, record)
end

if operation == 'enqueue' then
    if not senders[me] then
        save(me, {sends = false, since = now, due = now, called = 0, calls = 0})
    end
    return 0
end

if operation == 'leave' then
    redis.call('HDEL', KEYS[1], me)
    return 0
end

-- The wait doubles, up to its maximum, each time that the sender comes back only to be postponed.
if operation == 'postpone' then
    local looks = senders[me] and senders[me].looks or 0
    local wait = math.min(with.wait * 2 ^ math.min(looks, 20), with.max_wait)
    save(me, {sends = false, since = now + wait, due = now + wait, called = 0, calls = 0, looks = looks + 1})
    return wait
end

if operation == 'begin' then
    local record = senders[me] or {sends = false, since = now, due = now, called = 0, calls = 0}
    -- A slot that was left for this run may be taken by any of its senders.
    local called = nil
    for sender, other in pairs(senders) do
        if run_of(sender) == run_of(me) and not other.sends and other.called > 0 and (called == nil or sender == me) then
            called = sender
        end
    end
    if called then
        senders[called].called, senders[called].calls = 0, 0
        save(called, senders[called])
    else
        local taken, ahead, runs = 0, {}, {}
        for sender, other in pairs(senders) do
            if sender ~= me and (other.sends or other.called > 0) then
                taken = taken + 1
            end
        end
        for _, other in ipairs(waiting(with.stopped)) do
            local mine = count_of(run_of(me))
            if not runs[other.run] and (other.count < mine or (other.count == mine and other.since < record.since)) then
                ahead[#ahead + 1], runs[other.run] = other, true
            end
        end
        if taken + #ahead >= with.slots then
            if ahead[1] then
                call(ahead[1].name)
            end
            record.sends, record.due = false, now + with.bounce
            save(me, record)
            return with.bounce
        end
    end
    save(me, {sends = true, since = now, due = now, seen = now, called = 0, calls = 0, looks = record.looks})
    return 0
end

local record = senders[me]
if not record or not record.sends then
    record = {sends = true, since = now, due = now, called = 0, calls = 0}
end
record.seen, record.looks = now, 0
save(me, record)
local is_over = now - record.since >= with.turn

-- Whether the turn is over and somebody waits.
if operation == 'look' then
    return is_over and #waiting({}) > 0 and 1 or 0
end

-- Leave the slot to the first run with fewer senders than mine, and return the wait until those who wait now have had a turn.
if operation == 'yield' then
    local others = waiting(with.stopped)
    local first = others[1]
    if not is_over or not first or first.count >= count_of(run_of(me)) then
        return 0
    end
    call(first.name)
    local wait = math.max(with.bounce, math.floor(with.turn * (#others - 1) / with.slots))
    save(me, {sends = false, since = now, due = now + wait, called = 0, calls = 0})
    return wait
end
return redis.error_reply('turns: unknown operation ' .. operation)
