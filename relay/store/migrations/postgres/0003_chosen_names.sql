-- Whether an account asked for the name. One that a relay drew for it counts apart, and the account may get it again.
ALTER TABLE reservations ADD COLUMN chosen boolean NOT NULL DEFAULT true;
