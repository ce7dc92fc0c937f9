//! A store, on either database.

use std::ops::Deref;

/// A store on a database.
pub struct Store<D>(pub(crate) D);

impl<D> Deref for Store<D> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.0
    }
}
