-- Tokens are kept by the append that asks for them, among the engine's secrets.
insert into secrets (key, about, secret, kept_since)
select provider_key, order_id, token, kept_since from payment_tokens;
drop table payment_tokens;

-- For replicas of the build before, until the last of them is gone.
create view payment_tokens as
select key as provider_key, about as order_id, secret as token, kept_since from secrets;
