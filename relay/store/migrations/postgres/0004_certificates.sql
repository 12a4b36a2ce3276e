-- Certificates and their way from a CA to the relays. Lists are texts with a comma between the elements.

-- What a certificate's private key is sealed to, by region.
CREATE TABLE regions (
    region     text PRIMARY KEY,
    public_key text NOT NULL
);

CREATE TABLE certificates (
    id          text   PRIMARY KEY,
    names       text   NOT NULL,
    regions     text   NOT NULL,
    chain       text   NOT NULL,
    fingerprint text   NOT NULL,
    not_before  bigint NOT NULL,
    not_after   bigint NOT NULL,
    revision    bigint NOT NULL,
    issued_at   bigint NOT NULL,
    made_for    text   NOT NULL
);

-- The private keys, each sealed to one who may have it: a region, or who issues.
CREATE TABLE certificate_keys (
    certificate text NOT NULL REFERENCES certificates (id) ON DELETE CASCADE,
    recipient   text NOT NULL,
    sealed      text NOT NULL,
    PRIMARY KEY (certificate, recipient)
);
CREATE INDEX certificate_keys_recipient ON certificate_keys (recipient);

CREATE TABLE acme_accounts (
    id          text PRIMARY KEY,
    credentials text NOT NULL
);

-- One row for each certificate: the order that is under way, and what came of the attempts before.
CREATE TABLE acme_orders (
    certificate  text   PRIMARY KEY,
    made_for     text   NOT NULL,
    url          text,
    key          text,
    ordered_at   bigint NOT NULL DEFAULT 0,
    state        text   NOT NULL DEFAULT '',
    challenges   text   NOT NULL DEFAULT '[]',
    problem      text,
    failures     bigint NOT NULL DEFAULT 0,
    next_attempt bigint NOT NULL DEFAULT 0,
    renewal_at   bigint,
    renewal_asked bigint NOT NULL DEFAULT 0
);

-- What relays answer a CA.
CREATE TABLE acme_challenges (
    certificate text   NOT NULL,
    kind        text   NOT NULL,
    name        text   NOT NULL,
    token       text   NOT NULL,
    answer      text   NOT NULL,
    expires     bigint NOT NULL,
    PRIMARY KEY (certificate, kind, name, token)
);

-- Validations that a CA has counted against a name.
CREATE TABLE ca_ledger (
    id        text   PRIMARY KEY,
    directory text   NOT NULL,
    name      text   NOT NULL,
    failed_at bigint NOT NULL
);
CREATE INDEX ca_ledger_name ON ca_ledger (directory, name, failed_at);

-- Who may do what only one may do at a time. What is written under an epoch that is over is refused.
CREATE TABLE fences (
    name   text   PRIMARY KEY,
    holder text   NOT NULL,
    epoch  bigint NOT NULL,
    until  bigint NOT NULL
);

-- What a relay has read, and the fingerprints of what it serves.
ALTER TABLE relays ADD COLUMN challenges_version bigint NOT NULL DEFAULT 0;
ALTER TABLE relays ADD COLUMN served text NOT NULL DEFAULT '';
ALTER TABLE relays ADD COLUMN certificate_problem text;

INSERT INTO versions (name, version) VALUES ('certificates', 0), ('challenges', 0);
