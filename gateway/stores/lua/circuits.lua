-- The circuits that all workers share: take what one of them has to tell, answer with all that are open.
--
-- KEYS[1]  hash: model -> {mark, opened_ms, until_ms, openings, firm, reason}, times by this server's clock
-- ARGV[1]  news: a list of {model, mark, replaces, open, opened_ago_ms, left_ms, openings, firm, reason}
-- ARGV[2]  for how many milliseconds a circuit is kept after its pause
-- Answer   the same list, of all circuits, `replaces` empty
--
-- A state that follows the one that is kept takes its place. Of two that know nothing of one another the longer pause
-- holds, and a circuit is closed by a worker that knows its present state only.

local key, keep_ms = KEYS[1], tonumber(ARGV[2])
local clock = redis.call('TIME')
local now_ms = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local news = cmsgpack.unpack(ARGV[1])
for _, told in ipairs(news) do
    local model, mark, replaces, open, opened_ago_ms, left_ms, openings, firm, reason = unpack(told)
    local kept = redis.call('HGET', key, model)
    local known = kept and cmsgpack.unpack(kept)
    local follows = known and known[1] == replaces
    if not open then
        if follows then
            redis.call('HDEL', key, model)
        end
    elseif not known or follows or known[3] < now_ms + left_ms then
        local state = {mark, now_ms - opened_ago_ms, now_ms + left_ms, openings, firm, reason}
        redis.call('HSET', key, model, cmsgpack.pack(state))
    end
end
if #news > 0 then
    redis.call('PEXPIRE', key, 2 * 86400000) -- no provider's pause is longer than a day
end

local states = {}
local all = redis.call('HGETALL', key)
for at = 1, #all, 2 do
    local mark, opened_ms, until_ms, openings, firm, reason = unpack(cmsgpack.unpack(all[at + 1]))
    if until_ms + keep_ms < now_ms then
        redis.call('HDEL', key, all[at])
    else
        states[#states + 1] = {all[at], mark, '', true, now_ms - opened_ms, until_ms - now_ms, openings, firm, reason}
    end
end
return cmsgpack.pack(states)
