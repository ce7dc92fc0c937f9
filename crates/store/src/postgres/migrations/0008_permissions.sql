-- What a merchant's own servers may have and do, each asked for by name. A merchant of before keeps what
-- it could: PINs were set without pci_enabled, too, where they came encrypted.
ALTER TABLE merchant
    ADD COLUMN may_export    BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN may_read_pins BOOLEAN NOT NULL DEFAULT false,
    ADD COLUMN may_set_pins  BOOLEAN NOT NULL DEFAULT false;
UPDATE merchant SET may_export = pci_enabled, may_read_pins = pci_enabled, may_set_pins = true;

-- All scopes of a credential. Null in what a program of the version before wrote: those in `scopes` are
-- all. Such programs read `scopes` alone, which holds no more than they may act on.
-- Within which networks it may add to allowed_ips by a call is ip_ceiling. Null: nobody said, so anywhere.
-- Inherited: it has scopes that nobody asked for by name.
ALTER TABLE credential
    ADD COLUMN rights     TEXT,
    ADD COLUMN ip_ceiling TEXT,
    ADD COLUMN inherited  BOOLEAN NOT NULL DEFAULT false;
-- A credential of before keeps what its scopes meant.
UPDATE credential SET rights = (
    SELECT coalesce(json_agg(name), '[]')::text FROM (
        SELECT jsonb_array_elements_text(credential.scopes::jsonb) AS name
        UNION ALL
        SELECT meant.name
        FROM (VALUES ('cards:export', 'cards:read:', true, false),
                     ('pins:read', 'cards:read:', true, false),
                     ('pins:set', 'cards:write:', false, false),
                     ('mfa:codes', 'webhooks:manage', false, true)) AS meant (name, held, pci, unbound)
        WHERE EXISTS (SELECT 1 FROM jsonb_array_elements_text(credential.scopes::jsonb) AS given
                      WHERE starts_with(given, meant.held))
            AND (NOT meant.pci OR EXISTS (SELECT 1 FROM merchant
                                          WHERE id = credential.merchant AND pci_enabled))
            AND (NOT meant.unbound OR credential.person IS NULL)
    ) AS scopes
);
UPDATE credential SET inherited = jsonb_array_length(rights::jsonb) > jsonb_array_length(scopes::jsonb);
