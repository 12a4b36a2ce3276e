-- A complaint as its source has it, and what was found out about it, as JSON. It outlives the object that it came from.
CREATE TABLE complaints (
    id       text   PRIMARY KEY,
    source   text   NOT NULL,
    filed_at bigint NOT NULL,
    gone_at  bigint,
    document text   NOT NULL
);
CREATE INDEX complaints_source ON complaints (source);

-- Who did what, when and why. Nothing is ever taken out.
CREATE TABLE complaint_history (
    complaint text   NOT NULL,
    number    bigint NOT NULL,
    at        bigint NOT NULL,
    what      text   NOT NULL,
    who       text   NOT NULL,
    why       text   NOT NULL,
    PRIMARY KEY (complaint, number)
);

-- The endpoints that a suspension took offline as far as they were known, a line each: what their consumers are told.
ALTER TABLE suspensions ADD COLUMN hostnames text NOT NULL DEFAULT '';
CREATE INDEX suspensions_account ON suspensions (issuer, subject);
CREATE INDEX suspensions_hostname ON suspensions (hostname);

-- How many sessions a relay has closed because of a suspension, in all.
CREATE TABLE enforcements (
    suspension text   NOT NULL,
    region     text   NOT NULL,
    relay      text   NOT NULL,
    closed     bigint NOT NULL,
    PRIMARY KEY (suspension, region, relay)
);

-- Who waits for relays to enforce a suspension listens to a channel of its own: relays are not woken by one another.
CREATE FUNCTION adit_confirmed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('adit_confirmed', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER relays_confirmed AFTER UPDATE ON relays FOR EACH ROW
    WHEN (OLD.suspensions_version IS DISTINCT FROM NEW.suspensions_version) EXECUTE FUNCTION adit_confirmed();
CREATE TRIGGER relays_changed AFTER INSERT OR DELETE ON relays FOR EACH ROW EXECUTE FUNCTION adit_confirmed();
