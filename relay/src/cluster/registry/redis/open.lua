-- Returns the epoch and the version up to which all changes are in the rows.
return { EPOCH, redis.call('HGET', ROWS, ':version') }
