-- More of a call under way, and its lease renewed. Done twice, it is done once.
--
-- KEYS[1]  the lease      KEYS[2]  the log: hash of chunks by number, and "end"
-- ARGV[1]  the token      ARGV[2]  a lease's length in milliseconds, 0 to let go of it
-- ARGV[3]  for how many milliseconds the log is kept      ARGV[4]  how many chunks were written before
-- ARGV[5]  the next chunk, "" when there is none
-- Answer   {1 while the call is this token's, else 0; 1 when somebody reads the log, else 0}

local holder = redis.call('GET', KEYS[1])
if ARGV[2] == '0' then
    if holder == ARGV[1] then redis.call('UNLINK', KEYS[1]) end
    redis.call('UNLINK', KEYS[2])
    return {0, 0}
end
if holder and holder ~= ARGV[1] then return {0, 0} end

-- A lease that ended is taken again, but not for a call that has landed, nor for a log that lost its beginning.
local before = tonumber(ARGV[4])
local whole = before == 0 or redis.call('HEXISTS', KEYS[2], tostring(before - 1)) == 1
if not whole or redis.call('HEXISTS', KEYS[2], 'end') == 1 then return {0, 0} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])

if ARGV[5] ~= '' then redis.call('HSET', KEYS[2], ARGV[4], ARGV[5]) end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {1, redis.call('HEXISTS', KEYS[2], 'heard')}
