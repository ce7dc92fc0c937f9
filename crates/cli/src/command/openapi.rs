//! `cardveil openapi`: the description of all listeners.

use crate::print;

/// `cardveil openapi`.
pub(crate) fn run() -> anyhow::Result<()> {
    print::document(&cardveil_server::document())
}
