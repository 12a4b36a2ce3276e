-- Arguments: the most rows, the most sessions of a row, then claims as JSON.
-- Returns the epoch, then two items for each claim: 'held', 'stale' or 'full', and the endpoint's row as JSON, if any.
local rows_max, sessions_max = tonumber(ARGV[1]), tonumber(ARGV[2])

local function row_from(claim)
    return {
        endpoint = claim.endpoint,
        account = claim.account,
        instance = claim.instance,
        generation = claim.generation,
        tunnel = claim.tunnel,
        options = claim.options,
        sessions = { [claim.session] = claim.relay },
    }
end

local function is_same_owner(row, claim)
    return row.account.issuer == claim.account.issuer and row.account.subject == claim.account.subject
        and row.instance == claim.instance
end

local function count(sessions)
    local n = 0
    for _ in pairs(sessions) do
        n = n + 1
    end
    return n
end

-- Options are text here, so that they stay as they are; nil if there are none.
-- Generations have 20 digits each, so that their order as text is their order as numbers.
local function decide(claim)
    local row, text = row_of(claim.endpoint)
    if not row then
        local is_new = redis.call('HEXISTS', ROWS, claim.endpoint) == 0
        if is_new and redis.call('HLEN', ROWS) - 2 >= rows_max then
            return 'full', ''
        end
        return 'held', set_row(row_from(claim))
    end
    if claim.generation > row.generation then
        return 'held', set_row(row_from(claim))
    end
    if claim.generation < row.generation or not is_same_owner(row, claim) then
        return 'stale', text
    end
    local known = row.sessions[claim.session]
    if known == claim.relay and row.tunnel == claim.tunnel and row.options == claim.options then
        return 'held', text
    end
    if not known and count(row.sessions) >= sessions_max then
        return 'full', text
    end
    row.sessions[claim.session] = claim.relay
    row.tunnel = claim.tunnel
    row.options = claim.options
    return 'held', set_row(row)
end

local answers = { EPOCH }
for i = 3, #ARGV do
    local outcome, text = decide(cjson.decode(ARGV[i]))
    answers[#answers + 1] = outcome
    answers[#answers + 1] = text
end
return answers
