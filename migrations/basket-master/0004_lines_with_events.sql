-- A line is noted by the commit that sets it, so that nobody can look for baskets in between.
create function note_lines() returns trigger
language plpgsql
as $$
begin
    insert into basket_lines (product_id, basket_id)
    select distinct a.data ->> 'product', a.stream_id from added a where a.type = 'basket.line_set'
    on conflict (product_id, basket_id) do update set noted_at = now();
    return null;
end
$$;

create trigger note_lines after insert on events
    referencing new table as added
    for each statement execute function note_lines();
