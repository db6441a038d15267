-- What order-master knows of the other masters, to choose a food point from: the folds of their events.
-- Gated by version, so that a message heard twice or out of order changes nothing.
CREATE TABLE points (
    food_point text PRIMARY KEY,
    version    bigint NOT NULL,
    country    text NOT NULL,
    document   jsonb NOT NULL
);
CREATE INDEX points_country ON points (country);

CREATE TABLE products (
    product  text PRIMARY KEY,
    version  bigint NOT NULL,
    document jsonb NOT NULL
);

DO $$
BEGIN
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON points, products TO %I', current_database());
END $$;
