mod certificate;
mod rights;
