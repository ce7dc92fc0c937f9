-- What a merchant's own servers may have and do, each asked for by name. A merchant of before keeps what
-- it could: PINs were set without pci_enabled, too, where they came encrypted.
ALTER TABLE merchant ADD COLUMN may_export INTEGER NOT NULL DEFAULT 0;
ALTER TABLE merchant ADD COLUMN may_read_pins INTEGER NOT NULL DEFAULT 0;
ALTER TABLE merchant ADD COLUMN may_set_pins INTEGER NOT NULL DEFAULT 0;
UPDATE merchant SET may_export = pci_enabled, may_read_pins = pci_enabled, may_set_pins = 1;

-- All scopes of a credential. Null in what a program of the version before wrote: those in `scopes` are
-- all. Such programs read `scopes` alone, which holds no more than they may act on.
ALTER TABLE credential ADD COLUMN rights TEXT;
-- Within which networks it may add to allowed_ips by a call. Null: nobody said, so anywhere.
ALTER TABLE credential ADD COLUMN ip_ceiling TEXT;
-- Whether it has scopes that nobody asked for by name.
ALTER TABLE credential ADD COLUMN inherited INTEGER NOT NULL DEFAULT 0;
-- A credential of before keeps what its scopes meant.
UPDATE credential SET rights = (
    SELECT json_group_array(name) FROM (
        SELECT value AS name FROM json_each(credential.scopes)
        UNION ALL
        SELECT meant.name
        FROM (SELECT 'cards:export' AS name, 'cards:read:' AS held, 1 AS pci, 0 AS unbound
              UNION ALL SELECT 'pins:read', 'cards:read:', 1, 0
              UNION ALL SELECT 'pins:set', 'cards:write:', 0, 0
              UNION ALL SELECT 'mfa:codes', 'webhooks:manage', 0, 1) AS meant
        WHERE EXISTS (SELECT 1 FROM json_each(credential.scopes) WHERE instr(value, meant.held) = 1)
            AND (NOT meant.pci OR EXISTS (SELECT 1 FROM merchant
                                          WHERE id = credential.merchant AND pci_enabled))
            AND (NOT meant.unbound OR credential.person IS NULL)
    )
);
UPDATE credential SET inherited = json_array_length(rights) > json_array_length(scopes);
