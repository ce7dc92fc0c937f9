mod allowlist;
mod certificate;
mod rights;
