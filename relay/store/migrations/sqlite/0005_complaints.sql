-- A complaint as its source has it, and what was found out about it, as JSON. It outlives the object that it came from.
CREATE TABLE complaints (
    id       text    PRIMARY KEY,
    source   text    NOT NULL,
    filed_at integer NOT NULL,
    gone_at  integer,
    document text    NOT NULL
) STRICT;
CREATE INDEX complaints_source ON complaints (source);

-- Who did what, when and why. Nothing is ever taken out.
CREATE TABLE complaint_history (
    complaint text    NOT NULL,
    number    integer NOT NULL,
    at        integer NOT NULL,
    what      text    NOT NULL,
    who       text    NOT NULL,
    why       text    NOT NULL,
    PRIMARY KEY (complaint, number)
) STRICT;

-- The endpoints that a suspension took offline as far as they were known, a line each: what their consumers are told.
ALTER TABLE suspensions ADD COLUMN hostnames text NOT NULL DEFAULT '';
CREATE INDEX suspensions_account ON suspensions (issuer, subject);
CREATE INDEX suspensions_hostname ON suspensions (hostname);

-- How many sessions a relay has closed because of a suspension, in all.
CREATE TABLE enforcements (
    suspension text    NOT NULL,
    region     text    NOT NULL,
    relay      text    NOT NULL,
    closed     integer NOT NULL,
    PRIMARY KEY (suspension, region, relay)
) STRICT;
