-- Arguments: the relay, whether it goes of itself, whether these are all its endpoints, then the endpoints.
-- Takes the relay's sessions out of the endpoints, unless it goes not of itself and has beaten meanwhile.
local relay, leaves, is_last = ARGV[1], ARGV[2] == '1', ARGV[3] == '1'
local text = redis.call('HGET', RELAYS, relay)
local good_until = text and tonumber(string.match(text, '^%d+ (%d+) '))
if not leaves and good_until and good_until > now_ms() then
    return 0
end
for i = 4, #ARGV do
    local row = row_of(ARGV[i])
    if row then
        local changed = false
        for session, holder in pairs(row.sessions) do
            if holder == relay then
                row.sessions[session] = nil
                changed = true
            end
        end
        if changed then
            set_or_drop(row)
        end
    end
end
if is_last then
    redis.call('HDEL', RELAYS, relay)
    tell(next_version(), 'left', relay)
end
return 1
