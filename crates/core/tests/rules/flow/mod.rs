mod guard;
mod keys;
mod log;
mod retention;
mod revoke;
mod tokens;
