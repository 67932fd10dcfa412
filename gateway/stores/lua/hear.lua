-- What is new of a call that another process makes, and whether it still makes it: seen at one moment, so that an end
-- is never missed.
--
-- KEYS[1]  the lease      KEYS[2]  the log: hash of chunks by number, and "end"
-- ARGV[1]  the token      ARGV[2]  the number of the next chunk to read      ARGV[3]  how many bytes are enough
-- ARGV[4]  for how many milliseconds the log is kept
-- Answer   {1 while the lease stands, else 0; how many chunks there are in all, -1 while unknown; chunks...}

local stands = redis.call('GET', KEYS[1]) == ARGV[1]
local total = redis.call('HGET', KEYS[2], 'end')
local answer = {stands and 1 or 0, total and tonumber(total) or -1}

local number, bytes, enough = tonumber(ARGV[2]), 0, tonumber(ARGV[3])
while bytes < enough do
    local chunk = redis.call('HGET', KEYS[2], tostring(number))
    if not chunk then break end
    answer[#answer + 1] = chunk
    bytes, number = bytes + #chunk, number + 1
end

-- Whoever makes the call hurries while somebody reads.
if stands and not total and redis.call('HEXISTS', KEYS[2], 'heard') == 0 then
    local told = redis.pcall('HSET', KEYS[2], 'heard', '1')
    if type(told) ~= 'table' then redis.call('PEXPIRE', KEYS[2], ARGV[4]) end
end
return answer
