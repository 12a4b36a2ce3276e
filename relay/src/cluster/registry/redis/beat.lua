-- Arguments: the relay, its record as JSON, the milliseconds that it is good for, the milliseconds after which nothing
-- is kept when no relay beats any more, the most relays.
-- Returns the epoch and the beat's version, which is '' when there are too many relays.
local relay, record, ttl, keep, relays_max = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
if redis.call('HEXISTS', RELAYS, relay) == 0 and redis.call('HLEN', RELAYS) >= relays_max then
    return { EPOCH, '' }
end
local version = next_version()
local good_until = string.format('%.0f', now_ms() + ttl)
redis.call('HSET', RELAYS, relay, version .. ' ' .. good_until .. ' ' .. record)
tell(version, 'beat', record)
for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, keep)
end
return { EPOCH, version }
