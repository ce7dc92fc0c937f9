-- A credential's networks get a description and times: what was a text becomes an object. Those that
-- are there are as old as their credential.
UPDATE credential SET allowed_ips = (
    SELECT json_group_array(json_object(
        'net', value,
        'description', '',
        'created_at', credential.created_at,
        'updated_at', credential.created_at))
    FROM json_each(credential.allowed_ips));
