-- Which factors count, beside the policies: a merchant that is there keeps what it had, so that a code which
-- it delivers goes on to count where its cardholder has an authenticator app.
UPDATE merchant SET mfa = (mfa::jsonb ||
    '{"factors":{"accepts":["TOTP","OTP"],"fallback":["OTP"]}}'::jsonb)::text;
