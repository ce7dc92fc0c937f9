-- The states of class keys: active without dates, retiring since, retired at. Of a retired key the bytes
-- are gone. When a key was made is not known of those that are older than this.
ALTER TABLE wrapped_key ADD COLUMN created_at INTEGER;
ALTER TABLE wrapped_key ADD COLUMN retiring_at INTEGER;
ALTER TABLE wrapped_key ADD COLUMN retired_at INTEGER;

-- A wrapped DEK names the version that it is under: big endian, behind a byte for the algorithm. By these
-- a rotation finds what is still to be moved, and a retirement that nothing is.
CREATE INDEX card_pan_key ON card (substr(dek, 2, 4));
CREATE INDEX card_cvv_key ON card (substr(cvv_dek, 2, 4)) WHERE cvv_dek IS NOT NULL;
CREATE INDEX card_pin_key ON card (substr(pin_dek, 2, 4)) WHERE pin_dek IS NOT NULL;
-- Inside JSON the DEK is an array of bytes.
CREATE INDEX mfa_person_key ON mfa_person (
    json_extract(totp, '$.sealed.dek[1]'), json_extract(totp, '$.sealed.dek[2]'),
    json_extract(totp, '$.sealed.dek[3]'), json_extract(totp, '$.sealed.dek[4]')
) WHERE totp IS NOT NULL;
