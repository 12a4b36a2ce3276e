-- What relays say of themselves, for who runs them. Yes is 1, no is 0.
ALTER TABLE relays ADD COLUMN config_revision text NOT NULL DEFAULT '';
ALTER TABLE relays ADD COLUMN config_refused text;
ALTER TABLE relays ADD COLUMN draining integer NOT NULL DEFAULT 0;
ALTER TABLE relays ADD COLUMN sessions integer NOT NULL DEFAULT 0;
ALTER TABLE relays ADD COLUMN tunnels integer NOT NULL DEFAULT 0;
ALTER TABLE relays ADD COLUMN registry_up integer NOT NULL DEFAULT 1;
