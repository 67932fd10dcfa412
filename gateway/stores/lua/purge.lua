-- A purge: what was asked for before its epoch and carries one of the labels is gone.
--
-- KEYS[1]  the purges: hash, "epoch" and by label
-- ARGV[1]  how many labels are kept apart      ARGV[2...]  labels
-- Answer   the new epoch, in digits

local key, most = KEYS[1], tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local last = redis.call('HGET', key, 'epoch')
local epoch = string.format('%.0f', math.max(now, (tonumber(last) or 0) + 1))

redis.call('HSET', key, 'epoch', epoch)
if not last then redis.call('HSET', key, 'all', epoch) end
for at = 2, #ARGV do redis.call('HSET', key, ARGV[at], epoch) end

-- Too many: the oldest half becomes a purge of everything from before the newest of them.
local flat = redis.call('HGETALL', key)
local labels = {}
for at = 1, #flat, 2 do
    if flat[at] ~= 'epoch' and flat[at] ~= 'all' then labels[#labels + 1] = {flat[at], tonumber(flat[at + 1])} end
end
if #labels > most then
    table.sort(labels, function(a, b) return a[2] < b[2] end)
    local all = tonumber(redis.call('HGET', key, 'all') or '0')
    for at = 1, math.floor(#labels / 2) do
        all = math.max(all, labels[at][2])
        redis.call('HDEL', key, labels[at][1])
    end
    redis.call('HSET', key, 'all', string.format('%.0f', all))
end
return epoch
