-- What a person is written to in. Old code never names the column, and gets the default.
alter table people add column language text not null default 'en' check (language in ('en', 'ru'));
