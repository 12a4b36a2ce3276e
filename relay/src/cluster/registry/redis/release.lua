-- Arguments: the relay, then three for each release: endpoint, generation, session.
local relay = ARGV[1]
for i = 2, #ARGV, 3 do
    local endpoint, generation, session = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local row = row_of(endpoint)
    if row and row.generation == generation and row.sessions[session] == relay then
        row.sessions[session] = nil
        set_or_drop(row)
    end
end
return EPOCH
