-- One currency per country, fixed by the first price there: a basket has one country and so one currency.
create table country_currencies (
    country text primary key check (country ~ '^[A-Z]{2}$'),
    currency text not null check (currency ~ '^[A-Z]{3}$')
);
