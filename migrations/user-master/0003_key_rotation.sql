-- From when on a key signs. Null is what code before this one leaves: it signed from the moment it was made.
alter table signing_keys add column signs_from timestamptz;
