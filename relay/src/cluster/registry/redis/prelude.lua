-- What all scripts share. Keys: the rows, the changes, the relays.
--
-- The rows are one hash: an endpoint's row as JSON. ':epoch' and ':version' stand among them, so that the numbers are
-- never lost without the rows. Versions are counted from the microsecond at which the hash came to be: after a loss
-- they go on far above, which whoever follows the changes sees as a gap. Numbers that exceed what a number of Lua or
-- its JSON holds exactly are strings.
local ROWS, CHANGES, RELAYS = KEYS[1], KEYS[2], KEYS[3]
local CHANGES_MAX = 10000

local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function epoch()
    local known = redis.call('HGET', ROWS, ':epoch')
    if known then
        return known
    end
    local time = redis.call('TIME')
    local start = string.format('%.0f', time[1] * 1000000 + time[2])
    redis.call('HSET', ROWS, ':epoch', start, ':version', start)
    redis.call('DEL', CHANGES, RELAYS)
    return start
end

local EPOCH = epoch()

local function next_version()
    return string.format('%.0f', redis.call('HINCRBY', ROWS, ':version', 1))
end

local function tell(version, what, text)
    redis.call('XADD', CHANGES, 'MAXLEN', '~', CHANGES_MAX, version .. '-0', what, text)
end

-- A row that is not as it should be is as good as none.
local function row_of(endpoint)
    local text = redis.call('HGET', ROWS, endpoint)
    if not text then
        return nil
    end
    local ok, row = pcall(cjson.decode, text)
    if ok and type(row) == 'table' and type(row.sessions) == 'table' and type(row.account) == 'table'
        and type(row.generation) == 'string' then
        return row, text
    end
    return nil
end

local function set_row(row)
    row.version = next_version()
    local text = cjson.encode(row)
    redis.call('HSET', ROWS, row.endpoint, text)
    tell(row.version, 'row', text)
    return text
end

local function set_or_drop(row)
    if next(row.sessions) then
        set_row(row)
    else
        redis.call('HDEL', ROWS, row.endpoint)
        tell(next_version(), 'gone', row.endpoint)
    end
end
