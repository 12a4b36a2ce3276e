-- Times are seconds since 1970. Endpoints are host names, or <region>/tcp:<port>.

-- Leases are renewed once a minute for each name: no index holds a column that a renewal changes, and the pages keep
-- room, so that a renewal rewrites no index.
CREATE TABLE reservations (
    endpoint         text   PRIMARY KEY,
    region           text   NOT NULL,
    issuer           text   NOT NULL,
    subject          text   NOT NULL,
    instance         text   NOT NULL,
    generation       bigint NOT NULL,
    reserved_at      bigint NOT NULL,
    leased_until     bigint NOT NULL,
    quarantine_until bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX reservations_account ON reservations (issuer, subject);

CREATE TABLE used_tokens (
    issuer   text   NOT NULL,
    token_id text   NOT NULL,
    subject  text   NOT NULL,
    key      text   NOT NULL,
    used_at  bigint NOT NULL,
    expires  bigint NOT NULL,
    PRIMARY KEY (issuer, token_id)
);
CREATE INDEX used_tokens_expires ON used_tokens (expires);

CREATE TABLE credentials (
    id         text   PRIMARY KEY,
    issuer     text   NOT NULL,
    subject    text   NOT NULL,
    key        text   NOT NULL,
    bound_at   bigint NOT NULL,
    expires    bigint NOT NULL,
    revoked_at bigint
);
CREATE INDEX credentials_account ON credentials (issuer, subject);
CREATE INDEX credentials_expires ON credentials (expires);
CREATE INDEX credentials_revoked ON credentials (id) WHERE revoked_at IS NOT NULL;

CREATE TABLE suspensions (
    id        text   PRIMARY KEY,
    issuer    text,
    subject   text,
    hostname  text,
    until     bigint,
    reason    text   NOT NULL,
    complaint text,
    since     bigint NOT NULL,
    lifted_at bigint,
    CHECK ((hostname IS NULL) = (issuer IS NOT NULL) AND (issuer IS NULL) = (subject IS NULL))
);

CREATE TABLE relays (
    region              text   NOT NULL,
    relay               text   NOT NULL,
    started             bigint NOT NULL,
    seen                bigint NOT NULL,
    suspensions_version bigint NOT NULL,
    PRIMARY KEY (region, relay)
);

-- One row for each set that relays hold in memory. Whoever changes such a set raises its version in the same
-- transaction: the row's lock puts commits in the order of versions.
CREATE TABLE versions (
    name    text   PRIMARY KEY,
    version bigint NOT NULL
);
INSERT INTO versions (name, version) VALUES ('credentials', 0), ('suspensions', 0);

CREATE FUNCTION adit_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('adit', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER versions_wake AFTER UPDATE ON versions FOR EACH ROW EXECUTE FUNCTION adit_wake();
