-- A question that was answered, to be found by questions like it.
--
-- KEYS[1]  the index of its context: signature and key, scored by when they end      KEYS[2]  what is kept of it
-- ARGV[1]  its signature and key      ARGV[2]  now, in milliseconds      ARGV[3]  when it ends      ARGV[4]  sealed
-- ARGV[5]  the most that a context holds      ARGV[6]  how long a signature is
-- ARGV[7]  what the name of everything that is kept here begins with
-- Answer   1
--
-- What ends first goes first. The index lives as long as the last of it.

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[5])
if over > 0 then
    for _, gone in ipairs(redis.call('ZRANGE', KEYS[1], 0, over - 1)) do
        redis.call('UNLINK', ARGV[7] .. string.sub(gone, tonumber(ARGV[6]) + 1))
    end
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, over - 1)
end
redis.call('SET', KEYS[2], ARGV[4], 'PXAT', ARGV[3])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], last[2] or ARGV[3])
return 1
