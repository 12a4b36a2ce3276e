-- Times are seconds since 1970. Endpoints are host names, or <region>/tcp:<port>.

CREATE TABLE reservations (
    endpoint         text   PRIMARY KEY,
    region           text   NOT NULL,
    issuer           text   NOT NULL,
    subject          text   NOT NULL,
    instance         text   NOT NULL,
    generation       integer NOT NULL,
    reserved_at      integer NOT NULL,
    leased_until     integer NOT NULL,
    quarantine_until integer NOT NULL
) STRICT;
CREATE INDEX reservations_account ON reservations (issuer, subject);

CREATE TABLE used_tokens (
    issuer   text   NOT NULL,
    token_id text   NOT NULL,
    subject  text   NOT NULL,
    key      text   NOT NULL,
    used_at  integer NOT NULL,
    expires  integer NOT NULL,
    PRIMARY KEY (issuer, token_id)
) STRICT;
CREATE INDEX used_tokens_expires ON used_tokens (expires);

CREATE TABLE credentials (
    id         text   PRIMARY KEY,
    issuer     text   NOT NULL,
    subject    text   NOT NULL,
    key        text   NOT NULL,
    bound_at   integer NOT NULL,
    expires    integer NOT NULL,
    revoked_at integer
) STRICT;
CREATE INDEX credentials_account ON credentials (issuer, subject);
CREATE INDEX credentials_expires ON credentials (expires);
CREATE INDEX credentials_revoked ON credentials (id) WHERE revoked_at IS NOT NULL;

CREATE TABLE suspensions (
    id        text   PRIMARY KEY,
    issuer    text,
    subject   text,
    hostname  text,
    until     integer,
    reason    text   NOT NULL,
    complaint text,
    since     integer NOT NULL,
    lifted_at integer,
    CHECK ((hostname IS NULL) = (issuer IS NOT NULL) AND (issuer IS NULL) = (subject IS NULL))
) STRICT;

CREATE TABLE relays (
    region              text   NOT NULL,
    relay               text   NOT NULL,
    started             integer NOT NULL,
    seen                integer NOT NULL,
    suspensions_version integer NOT NULL,
    PRIMARY KEY (region, relay)
) STRICT;

-- One row for each set that relays hold in memory. Whoever changes such a set raises its version in the same
-- transaction: the row's lock puts commits in the order of versions.
CREATE TABLE versions (
    name    text   PRIMARY KEY,
    version integer NOT NULL
) STRICT;
INSERT INTO versions (name, version) VALUES ('credentials', 0), ('suspensions', 0);

