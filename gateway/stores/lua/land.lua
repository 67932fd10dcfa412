-- The end of a call in one step: its answer is kept, its log is complete, its lease is free.
--
-- KEYS[1]  where the answer is kept      KEYS[2]  the lease      KEYS[3]  the log: hash of chunks by number, and "end"
-- ARGV[1]  the token      ARGV[2]  the sealed answer, "" when it is not kept      ARGV[3]  for how many milliseconds
-- ARGV[4]  for how many milliseconds the log is kept      ARGV[5]  the number of the first chunk that follows here
-- ARGV[6...]  chunks, in order
-- Answer   1 when the answer was kept, 0 when none was to be, -1 when the server refused it
--
-- What a full server refuses must not keep the lease: those who follow then find it free, and no end.

local kept = 0
if ARGV[2] ~= '' then
    local set = redis.pcall('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    kept = set.ok and 1 or -1
end

-- A log that lost its beginning is no log.
local first = tonumber(ARGV[5])
local whole = first == 0 or redis.call('HEXISTS', KEYS[3], tostring(first - 1)) == 1
if first >= 0 and whole then
    local number = first
    for at = 6, #ARGV do
        local set = redis.pcall('HSET', KEYS[3], tostring(number), ARGV[at])
        if type(set) == 'table' then whole = false end
        number = number + 1
    end
    if whole then redis.pcall('HSET', KEYS[3], 'end', tostring(number)) end
    redis.call('PEXPIRE', KEYS[3], ARGV[4])
end

if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('UNLINK', KEYS[2]) end
return kept
