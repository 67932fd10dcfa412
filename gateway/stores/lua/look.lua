-- What is kept under a key, the epoch of purges, and who makes the call when nothing is kept.
--
-- KEYS[1]  a kept answer                KEYS[2]  the purges: hash, "epoch" and by label      KEYS[3]  lease of the call
-- ARGV[1]  a fresh token when a call may be led or followed, else ""     ARGV[2]  a lease's length in milliseconds
-- ARGV[3]  "1" when a kept answer is wanted, else "0"
-- ARGV[4]  the first bytes of a value that is to be removed if it is still there; left out when there is none
-- Answer   {value or false, epoch or "0", token of who leads or false, removed (1 or 0)}

-- Purges that are not there were never made, or are forgotten: everything from before this moment counts as purged.
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
    local clock = redis.call('TIME')
    epoch = string.format('%.0f', tonumber(clock[1]) * 1000000 + tonumber(clock[2]))
    local made = redis.pcall('HSET', KEYS[2], 'epoch', epoch, 'all', epoch)
    if type(made) == 'table' then epoch = '0' end
end

local removed = 0
if ARGV[4] and redis.call('GETRANGE', KEYS[1], 0, #ARGV[4] - 1) == ARGV[4] then
    removed = redis.call('UNLINK', KEYS[1])
end

local value = ARGV[3] == '1' and redis.call('GET', KEYS[1])
if value or ARGV[1] == '' then return {value, epoch, false, removed} end

-- A full server refuses the lease; what it has it still tells.
local taken = redis.pcall('SET', KEYS[3], ARGV[1], 'NX', 'PX', ARGV[2])
if type(taken) == 'table' and taken.ok then return {false, epoch, ARGV[1], removed} end
if type(taken) == 'table' then return {false, epoch, false, removed} end
return {false, epoch, redis.call('GET', KEYS[3]), removed}
